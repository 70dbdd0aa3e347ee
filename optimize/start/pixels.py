"""The table [image] for a checkpoint that brings no settings: size, mean and deviation of the images themselves."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optimize.data.image_file import ImageFile
from optimize.errors import CheckpointError
from optimize.start.choosing import image_side

LOOKED_AT = 256
"""Images whose colours are averaged."""
MODES = {1: "L", 3: "RGB"}


def image_values(images: Sequence[Any], channels: int) -> dict[str, Any]:
    """Width, height, mode, mean and std of image files or pixels, for a model that takes so many channels.

    Raises CheckpointError for a number of channels that no image has.
    """
    if channels not in MODES:
        raise CheckpointError(f"the checkpoint takes images of {channels} channels; bring a model for 1 or 3")
    mode = MODES[channels]
    step = -(-len(images) // LOOKED_AT)
    opened = [_opened(image).convert(mode) for image in images[::step]]
    side = image_side([min(image.size) for image in opened])
    pixels = np.concatenate([np.asarray(image, dtype=np.float64).reshape(-1, channels) for image in opened]) / 255
    mean, std = pixels.mean(axis=0), pixels.std(axis=0)
    values: dict[str, Any] = {"width": side, "height": side} | ({"mode": mode} if mode != "RGB" else {})
    return values | {"mean": [round(value, 3) for value in mean], "std": [max(round(v, 3), 0.001) for v in std]}


def _opened(image: ImageFile | NDArray[np.uint8]) -> Image.Image:
    if isinstance(image, ImageFile):
        return Image.open(io.BytesIO(image.read()))
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
