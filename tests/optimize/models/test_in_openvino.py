from __future__ import annotations

from pathlib import Path

import pytest

from optimize.models.in_openvino import in_openvino
from optimize.results import Result
from tests.made import save_product


def test_a_graph_that_openvino_cannot_read_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra openvino")
    read, unread = (Result("expert", name, tmp_path / f"{name}.onnx", "key") for name in ("export", "fuse-fp32"))
    half = Result("expert", "fuse-fp16", tmp_path / "half.onnx", "key", "fp16")
    save_product(read.path)
    save_product(unread.path, "Oddity", "nobody.knows")
    (result,) = in_openvino([read, unread, half])
    assert (result.name, result.path, result.runtime) == ("expert/export-openvino", read.path, "openvino")
    said = " ".join(capsys.readouterr().out.split())
    assert "expert/fuse-fp32-openvino is left out: OpenVINO cannot read fuse-fp32.onnx: No conversion rule" in said
