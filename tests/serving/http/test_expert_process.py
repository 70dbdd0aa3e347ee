"""The process of an expert without BentoML: what it imports, and that it answers calls on one socket in both ways."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from serving.cascade.store import of_tag
from serving.expert.client import RemoteExpert
from serving.http.expert_process import Given, start_of
from serving.http.no_pickle import REFUSED
from serving.model.artifact import Artifact
from serving.model.device import gpu_present
from serving.settings import Settings
from tests.commands import ROOT
from tests.conftest import TinyCascades
from tests.server import variables

TAG = "tiny-text-expert:latest"
# What BentoML's worker imports, and what only some services need: they took two thirds of an expert's memory.
NOT_IMPORTED = {"bentoml", "_bentoml_sdk", "_bentoml_impl", "circus", "tornado", "zmq", "rich", "jinja2", "httpx"}
NOT_IMPORTED |= {"aiohttp", "grpc", "opentelemetry", "pandas", "scipy", "torch", "transformers", "onnx", "openvino"}


def roots_of(statement: str, home: Path) -> set[str]:
    """The packages that a new process has imported after a statement."""
    line = f"import sys; {statement}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    said = subprocess.run(
        ["env", *(f"{name}={value}" for name, value in variables(home).items()), sys.executable, "-c", line],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(said.stdout.split())


def test_an_expert_imports_neither_bentoml_nor_what_it_never_asks(tmp_path: Path) -> None:
    roots = roots_of("import serving.http.expert_process", tmp_path)
    assert {"uvicorn", "numpy", "serving"} <= roots
    assert not roots & NOT_IMPORTED


def test_the_process_that_watches_over_the_others_imports_no_runtime(tmp_path: Path) -> None:
    roots = roots_of("import service", tmp_path)
    assert {"bentoml", "serving"} <= roots
    assert not roots & {"onnxruntime", "torch", "transformers", "grpc", "pandas"}


def test_circus_gets_a_line_that_this_command_line_reads() -> None:
    settings = Settings(device="gpu:0,1", gpu_memory_mb=512, gpu_graphs=False, expert_threads=2, workers=1)
    given = Given(name="a", model="a-expert:latest", store="/models", settings=settings, several=True)
    start = start_of("TextExpert2", given, Path("/code"))
    assert start.folder == Path("/code")
    assert "$(circus.sockets.TextExpert2)" in start.arguments
    assert Given.model_validate_json(start.arguments[-1]) == given


def test_the_line_which_everybody_may_read_has_no_password() -> None:
    settings = Settings(audit_url="nats://me:secret@broker")
    given = Given(name="a", model="a-expert:latest", store="/models", settings=settings, several=False)
    assert "secret" not in str(start_of("TextExpert", given, Path("/code")))


@contextmanager
def served(home: Path, path: Path, model: str = TAG, device: str = "cpu") -> Iterator[subprocess.Popen[str]]:
    """The process, listening on a unix socket at `path`."""
    given = Given(
        name="tiny-text", model=model, store=str(home / "models"), settings=Settings(device=device), several=False
    )
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        line = list(start_of("TextExpert", given, ROOT).arguments)
        line[line.index("--fd") + 1] = str(listening.fileno())
        process = subprocess.Popen(
            [sys.executable, *line],
            cwd=ROOT,
            pass_fds=[listening.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)


def test_it_answers_over_http_and_in_frames_on_one_socket(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home, path = tiny_cascades.home, tmp_path / "s"
    digest = Artifact.open(Path(of_tag(home / "models", TAG).path)).digest
    items = [np.array([2, 5, 3]), np.array([2, 7, 9, 3])]

    async def ask(*, framed: bool) -> np.ndarray:
        expert = RemoteExpert(f"file://{path}", "an-expert", digest, framed=framed)
        try:
            return (await expert(items)).logits
        finally:
            await expert.close()

    with served(home, path) as process:
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, base_url="http://expert", timeout=120) as client:
            ready = client.get("/readyz")
            assert (ready.status_code, ready.text) == (200, f"{client.get('/model').json()['variant']} on cpu\n")
            assert client.get("/model").headers["etag"] == f'"{digest}"'
            metrics = client.get("/metrics").text
            assert "sieve_expert_batch_size" in metrics
            assert 'device="cpu"' in metrics
            refused = client.post("/infer", headers={"Content-Type": "application/vnd.bentoml+pickle"}, content=b"x")
            assert (refused.status_code, refused.text) == (415, REFUSED)
            assert json.loads(client.get("/nowhere").content)["error"]
            np.testing.assert_array_equal(asyncio.run(ask(framed=True)), asyncio.run(ask(framed=False)))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in (0, -signal.SIGTERM)


def test_when_it_has_stood_still_it_runs_no_call_that_was_given_up(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home, path = tiny_cascades.home, tmp_path / "s"
    digest = Artifact.open(Path(of_tag(home / "models", TAG).path)).digest

    async def main(process: subprocess.Popen[str]) -> None:
        expert = RemoteExpert(f"file://{path}", "an-expert", digest, framed=True)
        await expert([np.array([2, 3])])
        process.send_signal(signal.SIGSTOP)
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            await asyncio.sleep(0.001)
        calls = [asyncio.create_task(expert([np.array([2, number, 3])])) for number in range(5, 9)]
        await asyncio.wait(calls, timeout=0.2)
        for call in calls:
            assert call.cancel(), "it has no answer while the process stands still"
        await asyncio.gather(*calls, return_exceptions=True)
        process.send_signal(signal.SIGCONT)
        assert (await expert([np.array([2, 3])])).logits.shape[0] == 1
        await expert.close()

    with served(home, path) as process:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), base_url="http://a", timeout=120) as client:
            assert client.get("/readyz").status_code == 200
            asyncio.run(main(process))
            text = client.get("/metrics").text
        counts = [line.split()[1] for line in text.splitlines() if line.startswith("sieve_expert_batch_size_count")]
        assert [float(count) for count in counts] == [2.0]


@pytest.mark.parametrize("model", ["tiny-text-expert:never", "nothing-expert:latest"])
def test_a_model_that_is_not_there_is_said_in_one_sentence(
    tiny_cascades: TinyCascades, tmp_path: Path, model: str
) -> None:
    with served(tiny_cascades.home, tmp_path / "s", model) as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert said.strip().splitlines()[-1].startswith(f"{model}: model {model} is not in the model store")
    assert "Traceback" not in said


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_a_gpu_that_the_settings_demand_and_that_is_not_there_is_said_in_one_sentence(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    with served(tiny_cascades.home, tmp_path / "s", device="gpu:1") as process:
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert 'device = "gpu:1" needs a GPU, and ' in said.strip().splitlines()[-1]
    assert "Traceback" not in said
