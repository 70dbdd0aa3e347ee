"""Checks image files, decodes them, and resizes and normalises them to arrays. A bad image fails here, alone."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from serving.errors import InvalidInputError
from serving.model.artifact import ImageSettings

MAX_BYTES = 10_000_000
MAX_PIXELS = 40_000_000
# A strip of one pixel by millions is within MAX_PIXELS, but grows when its short side is resized.
MAX_ASPECT = 50
FORMATS = ("JPEG", "PNG")
# A JPEG decodes faster at a half, a quarter or an eighth of its size. The decoded image stays at least this many times
# as large as the model needs, so that resizing still smooths it. Pillow's own thumbnails do the same.
REDUCING_GAP = 2
# What Pillow raises for damaged files.
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, KeyError, EOFError, struct.error, OverflowError)
# `read_header` checks MAX_PIXELS before anything is decoded, so Pillow need not warn.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

Pixels = NDArray[np.float32]


class ImageDecoder:
    """Turns image files and raw pixels into arrays float32 [channels, height, width], as `settings` say."""

    def __init__(self, settings: ImageSettings) -> None:
        self._settings = settings
        self._resample = Image.Resampling[settings.resample.upper()]
        self.least_side = max(settings.width, settings.height, settings.resize_short_side or 0)
        """The pixels that each side of a decoded image needs for this model."""
        # [channels, 1, 1], with the division by 255 folded in.
        std = np.asarray(settings.std, dtype=np.float32)[:, None, None]
        self._scale = (1 / (255 * std)).astype(np.float32)
        self._shift = (np.asarray(settings.mean, dtype=np.float32)[:, None, None] / std).astype(np.float32)

    def decode(self, data: bytes, field: str = "image") -> Pixels:
        """A JPEG or PNG file -> float32 [channels, height, width]. Raises InvalidInputError, naming `field`."""
        return self.from_image(load(read_header(data, field), self.least_side, field))

    def from_image(self, image: Image.Image) -> Pixels:
        """A decoded image of any size and mode -> float32 [channels, height, width]."""
        settings = self._settings
        image = to_mode(image, settings.mode)
        if settings.resize_short_side is not None:
            ratio = settings.resize_short_side / min(image.size)
            size = (max(round(image.width * ratio), settings.width), max(round(image.height * ratio), settings.height))
            image = image if image.size == size else image.resize(size, self._resample)
            left, top = (image.width - settings.width) // 2, (image.height - settings.height) // 2
            image = image.crop((left, top, left + settings.width, top + settings.height))
        elif image.size != (settings.width, settings.height):
            image = image.resize((settings.width, settings.height), self._resample)
        pixels = np.asarray(image, dtype=np.float32)
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(planes * self._scale - self._shift)

    def from_pixels(self, pixels: NDArray[np.uint8]) -> Pixels:
        """uint8 [height, width, channels] or [height, width] -> float32 [channels, height, width]."""
        array = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
        return self.from_image(Image.fromarray(np.ascontiguousarray(array)))

    def collate(self, items: Sequence[Pixels]) -> dict[str, Pixels]:
        """float32 [batch, channels, height, width], under the graph's input name."""
        return {self._settings.input: np.stack(items)}


def read_header(data: bytes, field: str = "image") -> Image.Image:
    """An image file that is not decoded yet. Raises InvalidInputError if its size, format or header breaks a rule."""
    if not data:
        raise InvalidInputError(field, "must not be empty, got 0 bytes; send a JPEG or PNG file")
    if len(data) > MAX_BYTES:
        raise InvalidInputError(
            field, f"must have at most {MAX_BYTES:,} bytes, got {len(data):,}; send a smaller or more compressed image"
        )
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise InvalidInputError(
            field, f"must be a JPEG or PNG image, got {len(data):,} bytes of something else; convert it first"
        ) from None
    except Image.DecompressionBombError:
        raise _too_many_pixels(field, "far more") from None
    except DAMAGE as error:
        raise _damaged(field, error) from None
    if image.width * image.height > MAX_PIXELS:
        raise _too_many_pixels(field, f"{image.width} x {image.height}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise InvalidInputError(field, f"must be a still image, got an animation of {frames} frames; send one frame")
    longer, shorter = max(image.size), min(image.size)
    if longer > MAX_ASPECT * shorter:
        raise InvalidInputError(
            field,
            f"must be at most {MAX_ASPECT} times as long as wide, got {image.width} x {image.height}; crop it first",
        )
    return image


def load(image: Image.Image, least_side: int, field: str = "image") -> Image.Image:
    """Decode an image from `read_header` and turn it upright by its EXIF orientation.

    A JPEG whose sides are many times `least_side` pixels is decoded smaller, but never below `REDUCING_GAP` times
    `least_side`. Raises InvalidInputError if the file is damaged.
    """
    try:
        image.draft(None, (REDUCING_GAP * least_side, REDUCING_GAP * least_side))
        image.load()
    except DAMAGE as error:
        raise _damaged(field, error) from None
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGE:
        return image  # the image is whole, only its orientation cannot be read


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """An image of any mode converted to `mode`, RGB or L, as a viewer would show it on white."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips instead of scaling.
        image = Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        # Transparent pixels have a colour that no viewer shows.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _too_many_pixels(field: str, got: str) -> InvalidInputError:
    return InvalidInputError(
        field, f"must have at most {MAX_PIXELS // 1_000_000} megapixels, got {got}; send a smaller image"
    )


def _damaged(field: str, error: Exception) -> InvalidInputError:
    return InvalidInputError(
        field, f"must be a whole image file, got a damaged or truncated one ({type(error).__name__}); send it again"
    )
