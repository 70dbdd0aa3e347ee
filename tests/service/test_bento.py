"""`bentoml build`: what is in a Bento, and the same answers from its own folder."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from _bentoml_impl.docker import generate_dockerfile
from bentoml._internal.bento.bento import ImageInfo

import dockerfile
from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, TINY, command, in_full, serve
from tests.service.test_api import TEXTS, digit


@pytest.fixture(scope="module")
def bento(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked Bento of the tiny cascades."""
    packed = tmp_path_factory.mktemp("packed") / "sieve.bento"
    line, environment = command("build", *TINY, "--output", "tag", home=tiny_cascades.home)
    built = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    tag = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    line, environment = command("export", tag, str(packed), home=tiny_cascades.home)
    subprocess.run(line, check=True, env=environment, capture_output=True, timeout=120)
    folder = tmp_path_factory.mktemp("unpacked")
    subprocess.run(["tar", "-xf", packed, "-C", folder], check=True)
    return folder


@pytest.fixture(scope="module")
def said(bento: Path) -> dict[str, Any]:
    """What the Bento says about itself."""
    return yaml.safe_load((bento / "bento.yaml").read_text())


def test_a_bento_names_its_models_and_holds_nothing_of_optimize(bento: Path, said: dict[str, Any]) -> None:
    models = [model for service in said["services"] for model in service["models"]]
    assert {model["tag"].partition(":")[0] for model in models} == {
        f"tiny-{name}-{role}" for name in ("text", "image") for role in ("screen", "expert", "operating-point")
    }
    inside = {path.relative_to(bento / "src").as_posix() for path in (bento / "src").rglob("*.py")}
    assert "service.py" in inside
    assert not any(name.startswith(("optimize", "tests")) for name in inside)
    ours = {path.name: path.read_bytes() for path in (ROOT / "serving" / "page").iterdir()}
    assert {path.name: path.read_bytes() for path in (bento / "src" / "serving" / "page").iterdir()} == ours


def test_a_bento_requires_the_dependencies_of_the_project_and_no_others(bento: Path) -> None:
    requirements = "".join(path.read_text() for path in (bento / "env" / "python").glob("requirements*")).splitlines()
    assert any(line.startswith("onnxruntime-gpu==") for line in requirements)
    assert not any(line.startswith(("torch", "transformers", "optimum")) for line in requirements)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(requirements) == set(project["dependencies"])


@pytest.mark.parametrize("buildkit", [False, True], ids=["buildah", "docker"])
def test_bentoml_passes_the_line_breaks_of_our_instructions_through(
    bento: Path, said: dict[str, Any], buildkit: bool
) -> None:
    written = (bento / "env" / "docker" / "Dockerfile").read_text()
    # `bentoml containerize` writes the file anew, for engines with BuildKit in another form.
    again = generate_dockerfile(ImageInfo(**said["image"]), bento, enable_buildkit=buildkit)
    for text in (written, again):
        assert dockerfile.BUILD in text
        assert dockerfile.FINISH in text
        lines = text.splitlines()
        stages = [line for line in lines if line.startswith("FROM ")]
        assert stages == [
            f"FROM {dockerfile.BASE} AS base-container",
            "FROM base-container AS build",
            "FROM base-container",
        ]
        last = lines[len(lines) - lines[::-1].index("FROM base-container") :]
        assert [word for line in last if (word := line.partition(" ")[0]).isupper()] == [
            *("RUN", "COPY", "ENV", "HEALTHCHECK", "CMD"),
            *("COPY", "EXPOSE", "EXPOSE", "RUN", "USER", "ENTRYPOINT"),
        ]
        for first, then in (("ARG PROVIDER=cpu", "uv venv"), ("requirements.txt", "--requirement /runtime.txt")):
            assert text.index(first) < text.index(then)


def test_a_bento_serves_the_same_answers_from_its_own_folder(bento: Path, client: httpx.Client, tmp_path: Path) -> None:
    # Neither the names nor the models are given again: both are in the Bento.
    log = tmp_path / "log"
    with serve(str(bento), home=tmp_path / "empty", folder=tmp_path, log=log) as server, server.client() as other:
        for text in TEXTS[:8]:
            sent = {"text": text, "budget_ms": PATIENT_MS}
            ours, theirs = (in_full(c, "/classify_text", json=sent).json() for c in (client, other))
            assert {**ours, "timings_ms": 0, "request_id": 0} == {**theirs, "timings_ms": 0, "request_id": 0}
        for index in range(3):
            image = {"files": {"image": digit(index)}, "data": {"budget_ms": str(PATIENT_MS)}}
            ours, theirs = (in_full(c, "/classify_image", **image).json() for c in (client, other))
            assert (ours["label"], ours["models"]) == (theirs["label"], theirs["models"])
        for address in ("/", "/reference", "/page/page.js", "/page/swagger-ui.css"):
            assert other.get(address).content == client.get(address).content
