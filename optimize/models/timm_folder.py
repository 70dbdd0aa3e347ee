"""timm's folders: config.json with `architecture` and `pretrained_cfg`, and a state dict beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from optimize.errors import CheckpointError
from optimize.models.weights import WEIGHTS

# The architectures that their tensors' names tell from each other, with the prefixes and suffixes of ported weights.
# Those with other letters behind the depth (resnetblur50, resnet50d) compute something else.
_PLAIN = re.compile(r"(tv_|gluon_|ssl_|swsl_|ig_)?(resnet\d+|wide_resnet\d+_2|resnext\d+_\d+x\d+d)(_v1b)?")
_WITHOUT_EFFECT = {"num_classes", "in_chans", "drop_rate", "drop_path_rate", "drop_block_rate", "img_size"}


def timm_config(folder: Path) -> dict[str, Any] | None:
    """The content of config.json where timm wrote it, with or without transformers' wrapper; None for other folders."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict) or "architecture" not in config:
        return None
    return config if config.get("model_type", "timm_wrapper") == "timm_wrapper" else None


def timm_weights(folder: Path) -> Path:
    """The file with the weights of a timm folder. Raises CheckpointError when there is none."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise CheckpointError(f"checkpoint {folder} has no weights; put {' or '.join(WEIGHTS)} beside config.json")


def timm_labels(config: dict[str, Any]) -> tuple[str, ...] | None:
    """The names of the labels in the order of the head, where the config has them."""
    names = config.get("label_names")
    return tuple(map(str, names)) if isinstance(names, list) and names else None


def require_plain(config: dict[str, Any], folder: Path) -> None:
    """Raise CheckpointError when the config asks for what the tensors' names do not tell."""
    reasons = []
    if not _PLAIN.fullmatch(str(config["architecture"])):
        reasons.append(f"the architecture is {str(config['architecture'])!r}")
    changed = sorted(set(config.get("model_args") or {}) - _WITHOUT_EFFECT)
    if changed:
        reasons.append(f"model_args sets {', '.join(changed)}")
    if config.get("global_pool", "avg") != "avg":
        reasons.append(f"global_pool is {str(config['global_pool'])!r}")
    if reasons:
        raise CheckpointError(
            f"checkpoint {folder} is no plain ResNet of timm: {'; '.join(reasons)}; bring one of the architectures "
            "resnet18 to resnet152, wide_resnet50_2, wide_resnet101_2 or resnext"
        )
