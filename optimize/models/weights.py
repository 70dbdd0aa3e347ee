"""Files of weights: which ones a folder has, whether they are whole, and what they hold."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path
from pickle import UnpicklingError  # nosec B403 # the error alone
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from optimize.errors import CheckpointError

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""The names that transformers reads, the first one first; each may be an index of shards instead."""
_POINTER = b"version https://git-lfs"
# What torch's unpickler raises depends on the byte at which a file stops being a pickle.
_DAMAGE = (RuntimeError, ValueError, LookupError, AttributeError, TypeError, EOFError, OSError, struct.error)


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
        require_no_pointer(path)


def read_state_dict(path: Path) -> object:
    """What a file of weights holds, a state dict as a rule. Raises CheckpointError when it cannot be read safely."""
    require_no_pointer(path)
    if path.suffix == ".safetensors":
        _require_safetensors(path)
        return load_file(path)
    return load_pickle(path)


def load_pickle(path: Path, device: str = "cpu") -> Any:
    """What torch saved in `path`. Raises CheckpointError when it is cut short, or holds more than tensors.

    On the device `meta`, tensors have shapes and no values.
    """
    try:
        return torch.load(path, weights_only=True, map_location=device)
    except (UnpicklingError, *_DAMAGE) as error:
        needed = re.search(r"(?:GLOBAL|[Uu]nsupported class):? ([\w.]+)", str(error))
        if needed is None:
            # torch's own text would say how to read the file unsafely.
            told = "another kind of pickle" if isinstance(error, UnpicklingError) else str(error).strip()
            reason = told.splitlines()[0][:120] if told else type(error).__name__
            raise CheckpointError(
                f"checkpoint {path} is not a whole file of torch.save ({reason}); copy or download it again"
            ) from None
        raise CheckpointError(
            f"checkpoint {path} holds more than tensors ({needed[1]}), and reading that could run any code; load it "
            "where it was made, and save the weights alone, with torch.save(model.state_dict(), PATH)"
        ) from None


def require_no_pointer(path: Path) -> None:
    """Raise CheckpointError when `path` is what Git has left in place of a large file."""
    if path.is_file() and path.stat().st_size < 1024 and path.read_bytes().startswith(_POINTER):
        raise CheckpointError(
            f"checkpoint {path.parent}: {path.name} is a Git LFS pointer, not the file itself; fetch it with "
            "`git lfs pull` there"
        )


def _weight_files(folder: Path) -> list[Path]:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return [folder / name]
        index = folder / f"{name}.index.json"
        if index.is_file():
            return _shards(index)
    if any(folder.glob("*.onnx")):
        raise CheckpointError(
            f"checkpoint {folder} has no weights, only an ONNX graph; take it as it is with "
            'source = "onnx" in [checkpoint] (docs/models.md), or save the model there with save_pretrained'
        )
    raise CheckpointError(
        f"checkpoint {folder} has no weights ({' or '.join(WEIGHTS)}, whole or in shards); save the model there with "
        "save_pretrained"
    )


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        inside = all(Path(name).name == name for name in names)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"checkpoint {index} is not an index of shards; copy or download it again") from None
    if not inside:
        raise CheckpointError(
            f"checkpoint {index} names a shard outside of its folder; save the model anew with save_pretrained"
        )
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
