from __future__ import annotations

import datetime
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from optimize.errors import CheckpointError
from optimize.models.checkpoint import CifarCheckpoint, FolderCheckpoint, fetch_model
from optimize.models.weights import require_whole
from tests.encoders import LABELS, saved_encoder, tiny_encoder
from tests.optimize.conftest import torch_logits

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.mark.parametrize("depth", [20, 32, 56])
def test_state_dicts_of_cifar_resnets(shared_data: Path, depth: int) -> None:
    (path,) = (shared_data / "weights").glob(f"resnet{depth}-*.th")
    model, tokenizer = fetch_model(
        CifarCheckpoint(source="cifar-state-dict", path=path), "image", CIFAR, Path(), fresh_head=False
    )
    assert tokenizer is None
    assert model.config.depths == [(depth - 2) // 6] * 3
    with np.load(shared_data / "image" / "cifar10_subset.npz") as data:
        pixels, targets = data["test_x"][::20], data["test_y"][::20]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    inputs = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    assert (torch_logits(model.eval(), {"pixel_values": inputs}).argmax(axis=1) == targets).mean() > 0.85


def test_another_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"fc.weight": torch.zeros(2, 2)}, tmp_path / "other.th")
    with pytest.raises(CheckpointError, match="is not the state dict of a CIFAR ResNet with 10 labels"):
        fetch_model(
            CifarCheckpoint(source="cifar-state-dict", path="other.th"), "image", CIFAR, tmp_path, fresh_head=False
        )


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
        assert message.endswith("load it where it was made, and save the model with save_pretrained")
