from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import RuntimesError
from optimize.runtimes.candidate import Subject
from optimize.runtimes.onnx_runtime import CUDA, NO_GPU, OnnxRuntime
from serving.model import device, open_session
from serving.model.tensorrt import MISSING, TENSORRT
from tests.made import pixels, save_product


def test_the_cpu_is_always_there(tmp_path: Path) -> None:
    subject = Subject(graph=save_product(tmp_path / "model.onnx"), task="image")
    candidate = OnnxRuntime()
    assert (candidate.name, candidate.missing(subject)) == ("ONNX Runtime", None)
    assert candidate.load(subject, 1)({"pixel_values": pixels(2)}).shape == (2, 3)


@pytest.mark.parametrize(("provider", "name"), [(CUDA, "ONNX Runtime, CUDA"), (TENSORRT, "TensorRT")])
def test_what_needs_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch, provider: str, name: str) -> None:
    subject = Subject(graph=Path("model.onnx"), task="image")
    monkeypatch.setattr(device, "gpu_present", lambda: False)
    candidate = OnnxRuntime(provider)
    assert (candidate.name, candidate.missing(subject)) == (name, NO_GPU)


def test_a_gpu_without_tensorrt_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "gpu_present", lambda: True)
    monkeypatch.setattr("serving.model.tensorrt.LIBRARY", "libnvinfer.so.of.nobody")
    assert OnnxRuntime(TENSORRT).missing(Subject(graph=Path("model.onnx"), task="image")) == MISSING
    assert "pip install 'tensorrt-cu13<11'" in MISSING


def test_the_library_of_tensorrt_is_the_one_that_onnxruntime_is_linked_against() -> None:
    import onnxruntime

    from serving.model.tensorrt import LIBRARY

    (provider,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime_providers_tensorrt.so")
    assert f"\0{LIBRARY}\0".encode() in provider.read_bytes()


def test_a_provider_that_falls_back_to_the_cpu_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = Subject(graph=save_product(tmp_path / "model.onnx"), task="image")
    opened = open_session.open_session
    monkeypatch.setattr(
        open_session, "open_session", lambda graph, _, threads: opened(graph, "CPUExecutionProvider", threads)
    )
    with pytest.raises(RuntimesError, match="asked for DnnlExecutionProvider and got CPUExecutionProvider"):
        OnnxRuntime("DnnlExecutionProvider").load(subject, 1)
