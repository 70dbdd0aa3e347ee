"""Files that people bring: whole, with their weights, in operators that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from optimize.errors import CheckpointError
from optimize.models.onnx_checkpoint import OnnxFiles
from optimize.models.onnx_file import read_onnx
from optimize.models.saved import load_model, save_model
from tests.optimize.models.onnx_files import changed, gap, refusal, take, text_folder, with_end


def test_weights_in_a_file_beside_come_inside(tmp_path: Path) -> None:
    path = text_folder(tmp_path / "model") / "model.onnx"
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    assert path.stat().st_size < 100_000 < (path.parent / "model.onnx_data").stat().st_size
    digest = OnnxFiles(path, None).digest
    saved = save_model(take(path), tmp_path / "saved", path.parent)
    (path.parent / "model.onnx_data").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "model.onnx_data is a Git LFS pointer" in refusal(path)
    assert OnnxFiles(path, None).digest != digest, "the weights are part of the key"
    (path.parent / "model.onnx_data").unlink()
    assert "keeps weights in model.onnx_data, which is not there" in refusal(path)
    assert gap(load_model(saved, "text")) < 1e-5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"no graph at all", "is not a valid ONNX file (not a protobuf of ONNX)"),
        (b"", "is not a valid ONNX file ("),
    ],
)
def test_a_file_that_is_no_graph(content: bytes, message: str, tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    (folder / "model.onnx").write_bytes(content)
    assert message in refusal(folder)


def test_half_a_file(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[: len(whole) // 2])
    assert "is not a valid ONNX file" in refusal(folder)


def test_which_file_of_a_folder(tmp_path: Path) -> None:
    folder = text_folder(tmp_path / "model")
    (folder / "model.onnx").rename(folder / "other.onnx")
    assert take(folder).inputs == ("input_ids", "attention_mask", "token_type_ids")
    (folder / "second.onnx").write_bytes(b"")
    assert "has 2 ONNX files, such as other.onnx, and one is taken" in refusal(folder)
    for path in folder.glob("*.onnx"):
        path.unlink()
    assert "has no ONNX file, and one is taken" in refusal(folder)


def foreign(model: onnx.ModelProto) -> None:
    with_end("Mystery", domain="my.company")(model)
    model.opset_import.append(helper.make_opsetid("my.company", 1))


def old(model: onnx.ModelProto) -> None:
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("", 12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (foreign, "needs an operator that ONNX Runtime does not bring (my.company.Mystery)"),
        (old, "is written in operator set 12, and the quantizers need at least 13"),
    ],
)
def test_operators_that_are_not_known(change: Any, message: str, tmp_path: Path) -> None:
    path = changed(text_folder(tmp_path / "model") / "model.onnx", change)
    with pytest.raises(CheckpointError) as refused:
        read_onnx(path)
    assert message in str(refused.value)
