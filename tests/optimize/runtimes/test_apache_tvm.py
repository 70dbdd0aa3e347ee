from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from optimize.runtimes.apache_tvm import MISSING, ApacheTvm
from optimize.runtimes.candidate import Subject
from optimize.runtimes.onnx_runtime import OnnxRuntime
from tests.made import pixels, save_product


@pytest.mark.skipif(importlib.util.find_spec("tvm") is None, reason="Apache TVM is not installed: the extra tvm")
def test_tvm_computes_what_onnxruntime_does(tmp_path: Path) -> None:
    subject = Subject(graph=save_product(tmp_path / "model.onnx"), task="image")
    assert ApacheTvm().missing(subject) is None
    assert ApacheTvm().version()[0].isdigit()
    ours, theirs = (candidate.load(subject, 1) for candidate in (OnnxRuntime(), ApacheTvm()))
    for size in (1, 3):
        inputs = {"pixel_values": pixels(size)}
        np.testing.assert_allclose(theirs(inputs), ours(inputs), atol=1e-4)


def test_without_tvm_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert ApacheTvm().missing(Subject(graph=Path("model.onnx"), task="image")) == MISSING
    assert "pip install '.[tvm]'" in MISSING
