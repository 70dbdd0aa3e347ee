from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from optimize.errors import CheckpointError
from optimize.models.checkpoint import CifarCheckpoint, fetch_model
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
