"""OpenVINO computes what ONNX Runtime does, in float32, whatever the company and from any thread."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from serving.errors import ProviderError
from serving.model import runtimes
from serving.model.runtimes import is_installed, open_openvino, openvino_version, require_installed
from serving.model.session import open_graph
from tests.commands import ROOT
from tests.made import pixels, save_product

needs_openvino = pytest.mark.skipif(
    not is_installed("openvino"), reason="OpenVINO is not installed: the extra openvino"
)


@needs_openvino
@pytest.mark.parametrize("threads", [1, 2])
def test_openvino_computes_what_onnxruntime_does(tmp_path: Path, threads: int) -> None:
    path = save_product(tmp_path / "model.onnx")
    ours, _ = open_graph(path, "CPUExecutionProvider", 1, "onnxruntime")
    theirs, got = open_graph(path, "CPUExecutionProvider", threads, "openvino")
    assert got == "CPUExecutionProvider"
    for count in (1, 3, 32):
        items = pixels(count)
        logits = theirs({"pixel_values": items})
        assert (logits.shape, logits.dtype) == ((count, 3), np.float32)
        # In bfloat16, which OpenVINO chooses by itself where a CPU has AMX, they differ by 0.05.
        np.testing.assert_allclose(logits, ours({"pixel_values": items}), atol=1e-4)


@needs_openvino
def test_an_answer_depends_neither_on_company_nor_on_how_an_array_lies_in_memory(tmp_path: Path) -> None:
    run = open_openvino(save_product(tmp_path / "model.onnx"), 1)
    items = pixels(8)
    together = run({"pixel_values": items})
    for place in range(len(items)):
        np.testing.assert_allclose(run({"pixel_values": items[place : place + 1]})[0], together[place], atol=1e-5)
    strided = np.ascontiguousarray(items.transpose(0, 1, 3, 2)).transpose(0, 1, 3, 2)
    assert not strided.flags.c_contiguous
    frozen = items.copy()
    frozen.setflags(write=False)
    for same in (strided, frozen):
        np.testing.assert_array_equal(run({"pixel_values": same}), together)


@needs_openvino
def test_threads_that_ask_at_once_get_their_own_answers(tmp_path: Path) -> None:
    run = open_openvino(save_product(tmp_path / "model.onnx"), 1)
    batches = [pixels(1 + seed % 4, seed) for seed in range(64)]
    alone = [run({"pixel_values": batch}) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(lambda batch: run({"pixel_values": batch}), batches), alone, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-5)


SIGNALLED = """
import signal, sys, threading
from pathlib import Path
from serving.model.runtimes import open_openvino
signal.signal(signal.SIGUSR1, lambda *_: print("told"))
models = [open_openvino(Path(sys.argv[1]), 1) for _ in range(int(sys.argv[2]))]
if sys.argv[3] == "elsewhere":
    thread = threading.Thread(target=models.clear)
    thread.start()
    thread.join()
while models:
    del models[0]
signal.raise_signal(signal.SIGUSR1)
"""


@needs_openvino
@pytest.mark.parametrize(("models", "where"), [(1, "elsewhere"), (2, "here")])
def test_a_signal_comes_through_after_models_are_gone(tmp_path: Path, models: int, where: str) -> None:
    path = save_product(tmp_path / "model.onnx")
    line = [sys.executable, "-c", SIGNALLED, str(path), str(models), where]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "told"), done.stderr


@needs_openvino
def test_a_graph_that_openvino_cannot_read_is_one_sentence(tmp_path: Path) -> None:
    path = save_product(tmp_path / "model.onnx", "Oddity", "nobody.knows")
    with pytest.raises(ProviderError) as raised:
        open_openvino(path, 1)
    assert str(raised.value) == (
        "OpenVINO cannot read model.onnx: No conversion rule found for operations: nobody.knows.Oddity; use ONNX "
        "Runtime for it"
    )


def test_a_runtime_that_is_missing_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    require_installed("onnxruntime")
    monkeypatch.setattr(runtimes, "is_installed", lambda _: False)
    assert openvino_version() == "none"
    for ask in (lambda: require_installed("openvino"), lambda: open_openvino(Path("model.onnx"), 1)):
        with pytest.raises(ProviderError, match=r"^OpenVINO is not installed; install it with `pip install "):
            ask()
