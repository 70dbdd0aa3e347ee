from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from optimize.runtimes import open_vino
from optimize.runtimes.candidate import Subject
from optimize.runtimes.onnx_runtime import OnnxRuntime
from optimize.runtimes.open_vino import OpenVino
from tests.made import pixels, save_product


def test_openvino_computes_what_onnxruntime_does(tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra openvino")
    subject = Subject(graph=save_product(tmp_path / "model.onnx"), task="image")
    assert OpenVino().missing(subject) is None
    assert OpenVino().version().startswith("20")
    ours, theirs = (
        candidate.load(subject, 1)({"pixel_values": pixels(5)}) for candidate in (OnnxRuntime(), OpenVino())
    )
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_without_openvino_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_vino, "is_installed", lambda _: False)
    why = OpenVino().missing(Subject(graph=Path("model.onnx"), task="image"))
    assert why == "OpenVINO is not installed; install it with `pip install '.[openvino]'`"
