"""The image (make test-container): built without an engine, started with a read-only root file system."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from benchmarks.image_size import measured
from loadtest.traffic.process import free_port
from tests.conftest import TinyCascades
from tests.container.image import BASE, CONTAINERIZE, WITHOUT_ENGINE, Container, Started, Storage
from tests.server import PATIENT_MS, in_full
from tests.service.test_api import TEXTS, digit

MISSING = [tool for tool in ("buildah", "mmdebstrap", "unshare", "nsenter") if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.container,
    pytest.mark.timeout(900),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a base image and namespaces"),
]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    storage = Storage(tmp_path_factory.mktemp("images"))
    try:
        yield storage
    finally:
        shutil.rmtree(storage.folder)


@pytest.fixture(scope="module")
def container(storage: Storage, tiny_cascades: TinyCascades) -> Container:
    """A container of the image that the two plain commands make in the root of a checkout."""
    return Container(storage, storage.build(tiny_cascades))


@pytest.fixture(scope="module")
def started(container: Container, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    with container.started(tmp_path_factory.mktemp("started") / "log") as started:
        yield started


def test_it_answers_texts_and_images_and_escalates(started: Started) -> None:
    with started.client() as client:
        sent = [{"text": text, "budget_ms": PATIENT_MS} for text in TEXTS[:24]]
        replies = [in_full(client, "/classify_text", json=each) for each in sent]
        assert {reply.status_code for reply in replies} == {200}
        assert {reply.json()["stage"] for reply in replies} == {"screen", "expert"}
        assert {reply.json()["degraded"] for reply in replies} == {None}
        seen = client.post("/classify_image", files={"image": digit(0)}, data={"budget_ms": str(PATIENT_MS)})
        assert seen.status_code == 200
        assert seen.json()["label"]
        metrics = client.get("/metrics")
        assert any(line.startswith("sieve_") for line in metrics.text.splitlines())


def test_it_says_whether_it_is_healthy(started: Started, container: Container) -> None:
    kind, *line = container.settings["Healthcheck"]["Test"]
    assert kind == "CMD"
    healthy = started.inside(*line)
    assert healthy.returncode == 0, healthy.stderr
    assert started.inside(*line, port=free_port()).returncode != 0


def test_it_runs_as_a_user_who_can_write_only_below_tmp(started: Started) -> None:
    family = [started.first, *started.first.children(recursive=True)]
    assert len(family) > 3, "the API and two experts"
    assert {process.uids().effective for process in family} == {1034}
    places = ("/", "/app", "/home/bentoml", "/home/bentoml/bento", "/var/tmp", "/dev", "/etc")
    for place in places:
        assert started.inside("touch", f"{place}/x").returncode != 0, place
    assert started.inside("touch", "/tmp/x").returncode == 0
    mounts = Path(f"/proc/{started.first.pid}/mounts").read_text()
    (root,) = [line.split()[3] for line in mounts.splitlines() if line.split()[1] == "/"]
    assert "ro" in root.split(",")
    assert "Microsoft" not in started.inside("find", "/tmp").stdout, "ONNX Runtime keeps usage statistics to send"
    log = started.log.read_text()
    assert "Read-only file system" not in log
    assert "Permission denied" not in log


def test_its_user_has_the_number_that_kubernetes_is_told(container: Container) -> None:
    assert container.settings["User"] == "bentoml", "the last line of USER is BentoML's"
    assert container.user == ("1034", "1034")


def test_it_holds_nothing_that_serving_does_not_need(container: Container) -> None:
    binaries = {
        path.name
        for folder in ("bin", "usr/bin", "usr/local/bin", "app/.venv/bin")
        for path in container.root.glob(f"{folder}/*")
    }
    assert "bentoml" in binaries
    assert not binaries & {"cc", "gcc", "g++", "c++", "clang", "ld", "make", "git", "pip", "pip3", "uv"}
    packages = {path.name.lower() for path in container.root.glob("app/.venv/lib/python3*/site-packages/*")}
    assert {"bentoml", "onnxruntime", "tokenizers"} <= packages
    assert not packages & {"torch", "transformers", "optimum", "pip", "setuptools", "nvidia", "uv"}
    assert not list(container.root.glob("usr/**/python3*/*-packages/pip"))


def test_its_versions_are_those_of_the_constraints(container: Container) -> None:
    (constraints,) = container.root.glob("home/bentoml/bento/src/constraints.txt")
    pinned = {
        name.lower().replace("_", "-"): version
        for name, _, version in (line.partition("==") for line in constraints.read_text().splitlines())
    }
    pinned["onnxruntime"] = pinned["onnxruntime-gpu"]
    found = {}
    for folder in container.root.glob("app/.venv/lib/python3*/site-packages/*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        found[name.lower().replace("_", "-")] = version
    assert found.items() <= pinned.items(), set(found.items()) - set(pinned.items())


def test_it_is_small(container: Container) -> None:
    figures = measured(container.image, BASE, "cpu", container.storage.variables)
    assert 0 < figures["models_bytes"] < figures["on_top_bytes"]
    assert figures["onnxruntime_bytes"] < figures["bounded_bytes"] <= figures["bound_bytes"], figures


def test_a_sigterm_ends_it_cleanly(container: Container, tmp_path: Path) -> None:
    with container.started(tmp_path / "log") as started:
        family = [started.first, *started.first.children(recursive=True)]
        started.first.send_signal(signal.SIGTERM)
        assert started.process.wait(30) == 0
        assert psutil.wait_procs(family, timeout=5)[1] == []
    assert "Traceback" not in started.log.read_text()


def test_a_wrong_provider_is_refused_with_the_remedy(container: Container) -> None:
    done = container.storage.type(f"{CONTAINERIZE} {WITHOUT_ENGINE} --opt build-arg=PROVIDER=tpu")
    assert done.returncode != 0
    assert "got 'tpu'; mend --opt build-arg=PROVIDER=" in done.stdout + done.stderr
    assert "uv pip install" not in done.stdout, "refused before anything is installed"
