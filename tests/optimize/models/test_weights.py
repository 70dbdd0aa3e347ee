from __future__ import annotations

import datetime
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from optimize.errors import CheckpointError
from optimize.models.checkpoint import FolderCheckpoint, fetch_model
from optimize.models.weights import read_state_dict, require_whole
from tests.encoders import LABELS, saved_encoder, tiny_encoder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_encoder("bert", tmp_path / "model")


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        require_whole(folder)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def as_bin(folder: Path, **options: Any) -> Path:
    """Put the weights into pytorch_model.bin instead."""
    safetensors = folder / "model.safetensors"
    torch.save(load_file(safetensors), folder / "pytorch_model.bin", **options)
    safetensors.unlink()
    return folder / "pytorch_model.bin"


@pytest.mark.parametrize("kind", ["safetensors", "shards", "bin", "bin of torch 1.5", "shards of bin"])
def test_every_kind_of_file_gives_the_same_model(folder: Path, kind: str) -> None:
    model = tiny_encoder("bert")
    if kind == "shards":
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="20KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    elif kind == "shards of bin":
        (folder / "model.safetensors").unlink()
        model.save_pretrained(folder, max_shard_size="20KB", safe_serialization=False)
        assert len(list(folder.glob("pytorch_model-*.bin"))) > 1
    elif kind != "safetensors":
        as_bin(folder, _use_new_zipfile_serialization=kind == "bin")
    source = FolderCheckpoint(source="folder", path=folder)
    taken, _ = fetch_model(source, "text", LABELS, Path(), fresh_head=False)
    for (name, value), (_, wanted) in zip(taken.state_dict().items(), model.state_dict().items(), strict=True):
        torch.testing.assert_close(value, wanted, rtol=0, atol=0, msg=name)


def test_a_missing_shard_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    tiny_encoder("bert").save_pretrained(folder, max_shard_size="20KB")
    first, *others = sorted(folder.glob("model-*.safetensors"))
    first.unlink()
    assert f"lacks 1 of its {len(others) + 1} shards, such as {first.name}; copy or download" in refusal(folder)
    (folder / "model.safetensors.index.json").write_text('{"weight_map": ')
    assert "is not an index of shards" in refusal(folder)


@pytest.mark.parametrize("outside", ["../{}", "{folder}/../{}"])
def test_a_shard_outside_of_the_folder_is_not_read(folder: Path, outside: str) -> None:
    (folder / "model.safetensors").rename(folder.parent / "other.safetensors")
    name = outside.format("other.safetensors", folder=folder)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"classifier.bias": name}}))
    assert "names a shard outside of its folder; save the model anew" in refusal(folder)


def test_half_a_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is not a whole safetensors file" in refusal(folder)
    saved_encoder("bert", folder)
    path = as_bin(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is not a whole file of torch.save" in refusal(folder)
    path.write_bytes(b"")
    assert "is not a whole file of torch.save" in refusal(folder)


def test_a_git_pointer_and_no_weights_at_all(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "model.safetensors is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`" in refusal(
        folder
    )
    path.rename(folder / "tf_model.h5")
    (folder / "tf_model.h5").write_bytes(b"HDF")
    assert "has no weights (model.safetensors or pytorch_model.bin, whole or in shards)" in refusal(folder)


class Runs:
    """What a pickle may do when it is read."""

    def __reduce__(self) -> Any:
        return os.system, ("true",)


def test_a_pickle_that_would_run_code_is_refused(folder: Path) -> None:
    path = as_bin(folder)
    for content in ({"weight": torch.zeros(2), "callback": Runs()}, {"when": datetime.date(2020, 1, 1)}):
        torch.save(content, path)
        message = refusal(folder)
        assert "holds more than tensors (" in message
        assert message.endswith("save the weights alone, with torch.save(model.state_dict(), PATH)")


@pytest.mark.parametrize("name", ["x.pth", "x.pt", "x.bin", "x.ckpt", "x.safetensors"])
def test_one_file_in_the_formats_of_torch_and_safetensors(tmp_path: Path, name: str) -> None:
    state = {"conv1.weight": torch.arange(3.0)}
    if name.endswith(".safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save(state, tmp_path / name)
    stored = read_state_dict(tmp_path / name)
    assert isinstance(stored, dict)
    assert torch.equal(stored["conv1.weight"], state["conv1.weight"])


@pytest.mark.parametrize(
    "content", [b"these are no weights", b"\x80\x02", b"PK\x03\x04", bytes(range(256)), pickle.dumps({}, 4)]
)
def test_another_file_is_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is not a whole file of torch\.save \(") as refused:
        read_state_dict(tmp_path / "x.pth")
    assert len(str(refused.value).splitlines()) == 1
    with pytest.raises(CheckpointError, match="Is a directory"):
        read_state_dict(tmp_path)


def test_one_file_that_is_cut_off_or_a_pointer(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    save_file({"conv1.weight": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        read_state_dict(file)
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n")
    with pytest.raises(CheckpointError, match=r"x\.safetensors is a Git LFS pointer"):
        read_state_dict(file)


def test_a_folder_with_a_graph_alone_names_its_source(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model.onnx")
    assert 'only an ONNX graph; take it as it is with source = "onnx" in [checkpoint]' in refusal(folder)
