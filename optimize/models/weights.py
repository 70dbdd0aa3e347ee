"""Files of weights without a config: the state dicts that torch saves."""

from __future__ import annotations

import struct
from pathlib import Path
from pickle import UnpicklingError

import torch

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.heads import label_maps


def cifar_from_state_dict(path: Path, labels: tuple[str, ...]) -> CifarResNet:
    """The CIFAR ResNet of a state dict; the names of its tensors give its depth. Raises CheckpointError."""
    try:
        stored = torch.load(path, weights_only=True, map_location="cpu")
        state = {key.removeprefix("module."): value for key, value in stored.get("state_dict", stored).items()}
        depths = tuple(1 + max(int(k.split(".")[1]) for k in state if k.startswith(f"layer{g}.")) for g in (1, 2, 3))
        widths = tuple(state[f"layer{g}.0.conv1.weight"].shape[0] for g in (1, 2, 3))
        model = CifarResNet(CifarResNetConfig(depths=depths, widths=widths, **label_maps(labels)))
        model.load_state_dict(state)
    except (ValueError, KeyError, RuntimeError, AttributeError, EOFError, struct.error, UnpicklingError) as error:
        raise CheckpointError(
            f"checkpoint {path} is not the state dict of a CIFAR ResNet with {len(labels)} labels "
            f'({str(error).splitlines()[0]}); save other models with save_pretrained and use source = "folder"'
        ) from None
    return model
