"""Take in the folder of a model: every check that needs no weights comes before they are loaded."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from transformers import AutoConfig

from optimize.errors import CheckpointError
from optimize.models.families import FAMILIES
from optimize.models.image_families import IMAGE_FAMILIES
from optimize.models.saved import Task
from optimize.models.tokenisers import require_tokeniser
from optimize.models.weights import require_no_pointers, require_whole


def require_text_encoder(folder: Path) -> None:
    """Raise CheckpointError unless the folder holds a whole text encoder of a known family with its tokeniser."""
    _require_model(folder, "text", FAMILIES)
    require_tokeniser(folder, AutoConfig.from_pretrained(folder))


def require_image_model(folder: Path) -> None:
    """Raise CheckpointError unless the folder holds a whole ResNet, as transformers writes it."""
    _require_model(folder, "image", IMAGE_FAMILIES)


def _require_model(folder: Path, task: Task, kinds: Collection[str]) -> None:
    if not folder.is_dir():
        raise CheckpointError(f"checkpoint {folder} is a file; give the folder that save_pretrained wrote")
    require_no_pointers(folder)
    kind = architecture_of(folder)
    if kind not in kinds:
        raise CheckpointError(
            f"checkpoint {folder} is of the architecture {kind!r}, and a recipe for {task} takes "
            f"{', '.join(sorted(kinds))}; name another checkpoint"
        )
    require_whole(folder)


def architecture_of(folder: Path) -> object:
    """The architecture that config.json names. Raises CheckpointError; transformers' error lists 400 of them."""
    path = folder / "config.json"
    if not path.is_file():
        there = sorted(found.name for found in folder.iterdir())
        has = f"it has {', '.join(there[:4])}{' and more' if len(there) > 4 else ''}" if there else "it is empty"
        raise CheckpointError(
            f"checkpoint {folder} is not a Hugging Face folder (no config.json; {has}); save the model there with "
            "save_pretrained"
        )
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError):
        raise CheckpointError(f"checkpoint {path} is not whole JSON; copy or download it again") from None
    if kind is None:
        raise CheckpointError(
            f"checkpoint {folder} is not one of transformers (its config.json names no model_type); save the model "
            "there with save_pretrained"
        )
    return kind
