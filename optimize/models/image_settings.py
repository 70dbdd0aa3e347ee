"""How a checkpoint wants its images: read from the files that transformers, timm and torchvision leave.

Each source says it in its own words. What `ImageSettings` cannot express is refused with the reason.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import AutoImageProcessor

from optimize.models.graphs import quiet
from serving.model.artifact import ImageSettings

PROCESSOR_FILE = "preprocessor_config.json"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colours
# Numbers of Pillow's filters; box and hamming have no name in ImageSettings.
_FILTERS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
# The ends of the file names of torchvision's weights that were measured at 232 pixels instead of 256.
_RESIZED_TO_232 = (*("11ad3fa6", "cd907fc2", "f82ba261", "1a0047aa", "110c445d", "173b62eb", "9ba9bcbe", "d733dc28"),)


class InexpressibleError(ValueError):
    """Images are prepared in a way that ImageSettings has no words for. The text is the reason."""


@dataclass(frozen=True, slots=True)
class Brought:
    """Settings that came with a checkpoint. `origin` says in words where they stand."""

    settings: ImageSettings
    origin: str


def of_torchvision(file_name: str) -> Brought:
    """What torchvision published with its weights; a file with its own name tells which weights these are."""
    later = any(Path(file_name).stem.endswith(f"-{end}") for end in _RESIZED_TO_232)
    short = 232 if later else 256
    settings = _settings(224, 224, resize_short_side=short, resample="bilinear", mean=_MEAN, std=_STD)
    return Brought(settings, "torchvision's published settings")


def of_timm(config: dict[str, Any]) -> Brought:
    """What timm's config.json says of images, with the defaults of timm. Raises InexpressibleError."""
    wanted: dict[str, Any] = {"interpolation": "bicubic", "crop_pct": 0.875, "crop_mode": "center"}
    wanted |= {"mean": _MEAN, "std": _STD}
    # Old folders have no table of their own for it. timm writes null for what it does not know.
    given = config.get("pretrained_cfg") or config
    wanted |= {name: given[name] for name in wanted if given.get(name) is not None}
    channels, height, width = given.get("input_size") or (3, 224, 224)
    if height != width:
        raise InexpressibleError(f"input_size is {width} x {height}, no square")
    short: int | None = math.floor(height / float(wanted["crop_pct"]))
    if wanted["crop_mode"] == "squash" and short == height:
        short = None
    elif wanted["crop_mode"] != "center":
        raise InexpressibleError(f"crop_mode is {str(wanted['crop_mode'])!r}, with crop_pct {wanted['crop_pct']}")
    settings = _settings(
        width,
        height,
        resize_short_side=short,
        resample=wanted["interpolation"],
        mean=_by_channel(wanted["mean"], channels),
        std=_by_channel(wanted["std"], channels),
    )
    return Brought(settings, "timm's config.json")


def of_processor(folder: Path) -> Brought | None:
    """What transformers' preprocessor_config.json says; None without the file. Raises InexpressibleError."""
    if not (folder / PROCESSOR_FILE).is_file():
        return None
    try:
        with quiet():
            # The slow processors work with Pillow, as serving does, and need no torchvision.
            processor: Any = AutoImageProcessor.from_pretrained(folder, use_fast=False)  # type: ignore[no-untyped-call]  # transformers has no types for it
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise InexpressibleError(f"transformers cannot read it ({str(error).splitlines()[0][:100]})") from None
    width, height, short = _geometry(processor)
    mean, std = _scale(processor, _channels(folder))
    filter_name = _FILTERS.get(int(processor.resample))
    if filter_name is None:
        raise InexpressibleError(f"resample is {int(processor.resample)}, none of {', '.join(_FILTERS.values())}")
    settings = _settings(width, height, resize_short_side=short, resample=filter_name, mean=mean, std=std)
    return Brought(settings, PROCESSOR_FILE)


def _geometry(processor: Any) -> tuple[int, int, int | None]:
    """Width, height and the short side to resize to, None where the image is squeezed."""
    kind, size = type(processor).__name__, dict(processor.size)
    if not processor.do_resize:
        raise InexpressibleError("do_resize is false, so images keep their sizes")
    if kind == "ConvNextImageProcessor" and "shortest_edge" in size:
        edge = int(size["shortest_edge"])
        # This processor crops small images only.
        return edge, edge, int(edge / processor.crop_pct) if edge < 384 else None
    if kind == "ViTImageProcessor" and {"height", "width"} <= set(size):
        return int(size["width"]), int(size["height"]), None
    if kind not in _CROPPING:
        raise InexpressibleError(f"{kind} with size {sorted(size)} is not known here")
    if "shortest_edge" not in size or not processor.do_center_crop:
        raise InexpressibleError(f"{kind} is known with a shortest_edge and a crop at the centre alone")
    crop = processor.crop_size
    return int(crop["width"]), int(crop["height"]), int(size["shortest_edge"])


_CROPPING = ("BitImageProcessor", "CLIPImageProcessor", "MobileNetV1ImageProcessor", "MobileNetV2ImageProcessor")


def _scale(processor: Any, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std for values divided by 255, whatever the processor divides by."""
    mean = _by_channel(processor.image_mean if processor.do_normalize else 0.0, channels)
    std = _by_channel(processor.image_std if processor.do_normalize else 1.0, channels)
    factor = 255 * (processor.rescale_factor if processor.do_rescale else 1)
    if math.isclose(factor, 1, rel_tol=1e-6):
        return mean, std
    return tuple(value / factor for value in mean), tuple(value / factor for value in std)


def _by_channel(values: Any, channels: int) -> tuple[float, ...]:
    if isinstance(values, int | float):
        values = [values]
    return tuple(float(value) for value in values) * (channels if len(values) == 1 else 1)


def _channels(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("num_channels", 3))


def _settings(width: int, height: int, *, resize_short_side: int | None, **others: Any) -> ImageSettings:
    if resize_short_side is not None and resize_short_side < max(width, height):
        raise InexpressibleError(f"a crop of {width} x {height} pixels from {resize_short_side} pads the image")
    channels = len(others["mean"])
    if channels not in (1, 3):
        raise InexpressibleError(f"mean has {channels} values, and images have 1 channel or 3")
    others |= {"mode": "L" if channels == 1 else "RGB", "resize_short_side": resize_short_side}
    try:
        return ImageSettings(width=width, height=height, **others)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "settings"
        raise InexpressibleError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
