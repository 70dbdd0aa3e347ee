"""Files of weights: which ones a folder has, and whether they are whole, before a model is made of them."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.heads import label_maps

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The names that transformers reads, the first one first; each may be an index of shards instead."""
_POINTER = b"version https://git-lfs"


def require_whole(folder: Path) -> None:
    """Raise CheckpointError unless the folder's weights are all there and hold tensors alone.

    Only what tells is read: the header of a safetensors file, the pickle of a .bin.
    """
    require_no_pointers(folder)
    for path in _weight_files(folder):
        if path.suffix == ".safetensors":
            _require_safetensors(path)
        else:
            load_pickle(path, device="meta")


def require_no_pointers(folder: Path) -> None:
    """Raise CheckpointError where Git has left a pointer in place of a large file."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(_POINTER):
            raise CheckpointError(
                f"checkpoint {folder}: {path.name} is a Git LFS pointer, not the file itself; fetch it with "
                "`git lfs pull` there"
            )


def load_pickle(path: Path, device: str = "cpu") -> Any:
    """What torch saved in `path`. Raises CheckpointError when it is cut short, or holds more than tensors.

    On the device `meta`, tensors have shapes and no values.
    """
    try:
        return torch.load(path, weights_only=True, map_location=device)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, struct.error) as error:
        needed = re.search(r"(?:GLOBAL|[Uu]nsupported (?:class|operand)):? ([\w.]+)", str(error))
        if needed is None:
            reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
            raise CheckpointError(
                f"checkpoint {path} is not a whole file of torch.save ({reason}); copy or download it again"
            ) from None
        raise CheckpointError(
            f"checkpoint {path} holds more than tensors ({needed[1]}), and reading that could run any code; load it "
            "where it was made, and save the model with save_pretrained"
        ) from None


def _weight_files(folder: Path) -> list[Path]:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _shards(index)
    raise CheckpointError(
        f"checkpoint {folder} has no weights ({' or '.join(WEIGHTS)}, whole or in shards); save the model there with "
        "save_pretrained"
    )


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"checkpoint {index} is not an index of shards; copy or download it again") from None
    missing = [name for name in names if not (index.parent / name).is_file()]
    if missing:
        raise CheckpointError(
            f"checkpoint {index.parent} lacks {len(missing)} of its {len(names)} shards, such as {missing[0]}; copy or "
            "download it again"
        )
    return [index.parent / name for name in names]


def _require_safetensors(path: Path) -> None:
    try:
        with safe_open(path, framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"checkpoint {path} is not a whole safetensors file ({str(error).splitlines()[0][:120]}); copy or download "
            "it again"
        ) from None


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
