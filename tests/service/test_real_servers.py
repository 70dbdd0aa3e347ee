"""Experts on servers that nobody here wrote: MLServer, and Triton out of pytriton's package (make servers)."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from bentoml._internal.configuration.containers import BentoMLContainer
from bentoml._internal.models.model import ModelStore

from loadtest.traffic.process import free_port, stop
from optimize.publish.cascades import open_cascade
from optimize.servers.export import Exported, ServerName, export
from serving.arrays import Logits
from serving.cascade.modality import StoredCascade
from serving.expert.open_client import open_client
from serving.model.golden import golden_of
from serving.model.preprocess import example_items, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.conftest import ROOT, TinyCascades
from tests.optimize.score.tiny_models import tiny_cascade
from tests.server import LIMIT_S, serve
from tests.service.other_servers import cut_off_and_back, put_into_store, require_same_answers

pytestmark = pytest.mark.slow
SERVERS = ROOT / "build" / "peers"
# The package has no backend for ONNX Runtime. So Triton's own one for Python runs the file, under the configuration,
# the version and the names that were exported.
PYTHON_MODEL = """
from pathlib import Path

import onnxruntime
import triton_python_backend_utils as utils


class TritonPythonModel:
    def initialize(self, args):
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        self.names = [each.name for each in self.session.get_inputs()]

    def execute(self, requests):
        return [self.answered(request) for request in requests]

    def answered(self, request):
        inputs = {name: utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.names}
        (logits,) = self.session.run(["logits"], inputs)
        return utils.InferenceResponse([utils.Tensor("logits", logits)])
"""


class Running:
    """A server in a process group of its own, started and killed as often as a test wants."""

    def __init__(self, line: list[str], variables: dict[str, str], ready: str, log: Path) -> None:
        self._line, self._variables, self._ready, self._log = line, variables, ready, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it has the model."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._line,
                env={**os.environ, **self._variables},
                cwd=self._log.parent,  # MLServer writes its metrics where it is started
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end_s = time.monotonic() + LIMIT_S
        while not self._is_ready():
            assert self._process.poll() is None, self._log.read_text()[-4000:]
            assert time.monotonic() < end_s, self._log.read_text()[-4000:]
            time.sleep(0.2)

    def kill(self) -> None:
        """Kill it and all its processes."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            stop(self._process)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(self._ready).status_code == 200
        except httpx.TransportError:
            return False


def mlserver(exported: Exported, http: int, grpc: int, log: Path) -> Running:
    binary = SERVERS / "mlserver" / "bin" / "mlserver"
    if not binary.exists():
        pytest.skip("no MLServer in build/peers (make servers)")
    variables = {
        "MLSERVER_HOST": "127.0.0.1",
        "MLSERVER_HTTP_PORT": str(http),
        "MLSERVER_GRPC_PORT": str(grpc),
        "MLSERVER_METRICS_PORT": str(free_port()),
    }
    ready = f"http://127.0.0.1:{http}/v2/models/{exported.folder.name}/ready"
    return Running([str(binary), "start", str(exported.folder.parent)], variables, ready, log)


def triton(exported: Exported, http: int, grpc: int, log: Path) -> Running:
    found = list((SERVERS / "triton").glob("lib/python3*/site-packages/pytriton/tritonserver"))
    if not found:
        pytest.skip("no Triton in build/peers (make servers)")
    (home,) = found
    backends = home / "backends"
    if not (backends / "onnxruntime").exists():
        backends = log.with_name("backends")
        shutil.copytree(home / "backends", backends)
        stub = home / "python_backend_stubs" / "3.11" / "triton_python_backend_stub"
        shutil.copy(stub, backends / "python")
        config = exported.folder / "config.pbtxt"
        config.write_text(config.read_text().replace('platform: "onnxruntime_onnx"', 'backend: "python"'))
        (exported.folder / exported.version / "model.py").write_text(PYTHON_MODEL)
    ports = [f"--http-port={http}", f"--grpc-port={grpc}", "--allow-metrics=false"]
    hosts = ["--http-address=127.0.0.1", "--grpc-address=127.0.0.1"]
    folders = [f"--model-repository={exported.folder.parent}", f"--backend-directory={backends}"]
    variables = {"PATH": f"{SERVERS / 'triton' / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(home.parents[1])}
    variables["LD_LIBRARY_PATH"] = str(home.parents[1] / "nvidia_pytriton.libs")
    ready = f"http://127.0.0.1:{http}/v2/models/{exported.folder.name}/ready"
    return Running([str(home / "bin" / "tritonserver"), *ports, *hosts, *folders], variables, ready, log)


KINDS: dict[ServerName, Callable[[Exported, int, int, Path], Running]] = {"mlserver": mlserver, "triton": triton}


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_answers_as_our_own_expert_and_comes_back_when_it_was_killed(
    kind: ServerName, alone: bool, scheme: str, tmp_path: Path
) -> None:
    cascade: StoredCascade = tiny_cascade(tmp_path / "cascade", alone=alone)
    put_into_store(tmp_path / "home", "tiny", tmp_path / "cascade")
    exported = export(cascade, "tiny", tmp_path / "models", kind)
    ports = {"http": free_port(), "grpc": free_port()}
    server = KINDS[kind](exported, ports["http"], ports["grpc"], tmp_path / "server.log")
    url = f"oip+{scheme}://127.0.0.1:{ports[scheme]}/{exported.folder.name}"
    try:
        server.start()
        given = ("text=tiny", "image=", f"text_expert_url={url}")
        arguments = [word for name in given for word in ("--arg", name)]
        with serve(*arguments, home=tmp_path / "home", folder=ROOT, log=tmp_path / "log") as api:
            with api.client() as client:
                require_same_answers(client, cascade)
                runs = client.get("/models").json()["text"]["expert"]["execution_provider"]
                assert (runs["variant"], runs["version"]) == ("cpu-fp32", exported.version)
            load = cut_off_and_back(api.url, server.kill, server.start)
            print(kind, scheme, dict(load.all))
            assert "answers again" in (tmp_path / "log").read_text()
    finally:
        server.stop()


def test_two_artifacts_stand_beside_each_other_in_triton(tmp_path: Path) -> None:
    old, new = (tiny_cascade(tmp_path / name, settings={"max_tokens": most}) for name, most in (("old", 8), ("new", 9)))
    exported = export(old, "tiny", tmp_path / "models", "triton")
    beside = export(new, "tiny", tmp_path / "other", "triton")
    http, grpc = free_port(), free_port()
    server = triton(exported, http, grpc, tmp_path / "server.log")
    shutil.copytree(beside.folder / beside.version, exported.folder / beside.version)
    for model in (exported.folder / exported.version).glob("model.py"):
        shutil.copy(model, exported.folder / beside.version)

    async def asked(cascade: StoredCascade, url: str) -> dict[str, str]:
        artifact = cascade.expert.artifact
        expert = open_client(url, "tiny", artifact, "cpu-fp32", "")
        await expert(example_items(artifact.manifest.settings), None, 30_000.0)
        said = dict(await expert.describe())
        await expert.close()
        return said

    try:
        server.start()
        for url in (f"oip+http://127.0.0.1:{http}/tiny-expert", f"oip+grpc://127.0.0.1:{grpc}/tiny-expert"):
            assert asyncio.run(asked(old, url))["version"] == exported.version
            assert asyncio.run(asked(new, url))["version"] == beside.version
    finally:
        server.stop()


@pytest.mark.parametrize("scheme", ["http", "grpc"])
@pytest.mark.parametrize("modality", ["text", "image"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_expert_computes_there_what_was_certified(
    kind: ServerName, modality: str, scheme: str, tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    name = f"tiny-{modality}"
    with BentoMLContainer.model_store.patch(ModelStore(tiny_cascades.home / "models")):
        cascade = open_cascade(name)
    artifact, variant = cascade.expert.artifact, cascade.point.point.expert_variant
    exported = export(cascade, name, tmp_path / "models", kind)
    ports = {"http": free_port(), "grpc": free_port()}
    server = KINDS[kind](exported, ports["http"], ports["grpc"], tmp_path / "server.log")
    url = f"oip+{scheme}://127.0.0.1:{ports[scheme]}/{exported.folder.name}"
    items = [item for example in example_items(artifact.manifest.settings) for item in [example] * 3]
    golden = golden_of(artifact, variant)
    assert golden is not None
    items += golden.items

    async def asked() -> tuple[Logits, dict[str, str]]:
        expert = open_client(url, name, artifact, variant, "")
        try:
            return (await expert(items, None, 30_000.0)).logits, dict(await expert.describe())
        finally:
            await expert.close()

    try:
        server.start()
        logits, said = asyncio.run(asked())
    finally:
        server.stop()
    ours = Runner(Session(artifact, variant), preprocessor(artifact)).run(items)
    gap = float(np.abs(logits - ours).max())
    print(kind, modality, scheme, variant, "largest difference of a logit:", gap)
    assert gap < 1e-3
    assert (said["variant"], said["version"], said["against"]) == (variant, exported.version, "")
