from __future__ import annotations

from pathlib import Path

import pytest

from optimize.results import Result, digest_below, digest_of


def test_a_graph_is_an_onnx_file_and_half_precision_is_for_a_gpu(tmp_path: Path) -> None:
    graph = Result("screen", "fuse-fp16", tmp_path / "fuse-fp16-0123.onnx", "0123", "fp16")
    checkpoint = Result("screen", "distill", tmp_path / "distill-0123", "0123")
    assert (graph.name, graph.is_graph, graph.provider) == ("screen/fuse-fp16", True, "CUDAExecutionProvider")
    assert (checkpoint.is_graph, checkpoint.provider) == (False, "CPUExecutionProvider")


def test_the_size_of_a_checkpoint_is_that_of_its_weights(tmp_path: Path) -> None:
    (tmp_path / "distill").mkdir()
    (tmp_path / "distill" / "model.safetensors").write_bytes(b"12345")
    (tmp_path / "distill" / "config.json").write_text("{}")
    assert Result("screen", "distill", tmp_path / "distill", "0123").size_bytes == 5


def test_a_digest_depends_on_values_and_not_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": [Path("x")]}) == digest_of({"b": [Path("x")], "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


@pytest.mark.parametrize("change", ["content", "name", "more"])
def test_a_digest_of_a_folder_depends_on_names_and_contents(tmp_path: Path, change: str) -> None:
    folder = tmp_path / "model"
    (folder / "inner").mkdir(parents=True)
    file = folder / "inner" / "weights.bin"
    file.write_bytes(b"weights")
    before = digest_below(folder)
    assert before == digest_below(folder)
    if change == "content":
        file.write_bytes(b"others")
    elif change == "name":
        file.rename(folder / "inner" / "other.bin")
    else:
        (folder / "config.json").write_text("{}")
    assert digest_below(folder) != before


def test_a_digest_of_a_file_depends_on_its_content(tmp_path: Path) -> None:
    file = tmp_path / "weights.th"
    file.write_bytes(b"one")
    before = digest_below(file)
    file.write_bytes(b"two")
    assert digest_below(file) != before


def test_a_folder_may_hold_a_graph_in_the_place_of_weights(tmp_path: Path) -> None:
    result = Result("teacher", "checkpoint", tmp_path, "key")
    assert (result.graph, result.computed_in) == (None, "PyTorch")
    (tmp_path / "model.onnx").write_bytes(b"graph")
    assert (result.graph, result.computed_in) == (tmp_path / "model.onnx", "ONNX Runtime")
    assert not result.is_graph
    assert result.size_bytes == len(b"graph")
