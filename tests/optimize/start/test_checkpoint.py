from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import CheckpointError
from optimize.start.checkpoint import checkpoint_table, found_in
from tests.encoders import tiny_encoder
from tests.optimize.models.onnx_files import take, text_folder


def test_a_path_a_file_and_a_package(tmp_path: Path) -> None:
    (tmp_path / "resnet18.pth").touch()
    assert checkpoint_table(str(tmp_path)) == {"source": "folder", "path": str(tmp_path)}
    file = str(tmp_path / "resnet18.pth")
    assert checkpoint_table(file) == {"source": "state-dict", "path": file}
    assert checkpoint_table("email") == {"source": "package", "package": "email"}


@pytest.mark.parametrize("name", ["/nowhere/model", "./model", "weights/missing.pth", "a/b/c"])
def test_a_path_that_is_not_there_is_no_id_of_the_hub(name: str) -> None:
    with pytest.raises(CheckpointError, match=f"^checkpoint {name}: there is no such file or folder; write the path"):
        checkpoint_table(name)


def test_a_model_of_the_hub_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optimize.start.checkpoint.source_path", lambda config, root: tmp_path / "0123abc")
    assert checkpoint_table("owner/model") == {"source": "hub", "id": "owner/model", "revision": "0123abc"}
    assert checkpoint_table("owner/model@v1") == {"source": "hub", "id": "owner/model", "revision": "v1"}


def test_a_title_in_words() -> None:
    found = found_in({}, "text", tiny_encoder("roberta"))
    assert found.title == "a RoBERTa with 4 layers of width 32"
    assert found.positions == 40
    assert found.parameters > 1000


def test_a_graph_is_a_file_or_a_folder_without_weights(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    file = str(tmp_path / "model.onnx")
    assert checkpoint_table(file) == {"source": "onnx", "path": file}
    assert checkpoint_table(str(tmp_path)) == {"source": "onnx", "path": str(tmp_path)}
    (tmp_path / "model.safetensors").touch()
    assert checkpoint_table(str(tmp_path))["source"] == "folder", "weights can be trained"


def test_what_is_known_of_a_graph(tmp_path: Path) -> None:
    graph = take(text_folder(tmp_path / "model"))
    found = found_in({}, "text", graph)
    assert found.title == "a ready ONNX graph in fp32"
    assert found.positions == 40
    assert found.brought is graph
    encoder = found_in({}, "text", tiny_encoder("bert"))
    assert encoder.brought is encoder.config
    assert abs(found.parameters - encoder.parameters) < 0.1 * encoder.parameters
    (tmp_path / "model" / "config.json").unlink()
    assert found_in({}, "text", take(tmp_path / "model")).positions == 512, "no file tells"
