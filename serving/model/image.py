"""Decodes image files, and resizes and normalises them to arrays. A damaged image fails here, alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, JpegImagePlugin

from serving.arrays import Logits
from serving.model.artifact import ImageSettings
from serving.model.image_header import DAMAGE, damaged, read_header
from serving.model.weight import BAND_PIXELS, WHOLE_PIXELS

# A JPEG decodes faster at a half, a quarter or an eighth of its size. The decoded image stays at least this many times
# as large as the model needs, so that resizing still smooths it. Pillow's own thumbnails do the same.
REDUCING_GAP = 2

# What turns an image upright, by its EXIF orientation.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Those that make rows of columns; those that mirror what is then left and right, or top and bottom.
SIDEWAYS = {TURNS[orientation] for orientation in (5, 6, 7, 8)}
MIRRORED_ACROSS = {TURNS[orientation] for orientation in (2, 3, 6, 7)}
MIRRORED_DOWN = {TURNS[orientation] for orientation in (3, 4, 7, 8)}

Pixels = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image, and what turns it upright.

    Turning or converting the whole would double its memory, so both are done to parts.
    """

    image: Image.Image
    turn: Image.Transpose | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, upright."""
        return self.image.size[::-1] if self.turn in SIDEWAYS else self.image.size

    def part(self, left: int, top: int, right: int, bottom: int) -> Image.Image:
        """A rectangle of the upright image."""
        width, height = self.size
        if self.turn in MIRRORED_ACROSS:
            left, right = width - right, width - left
        if self.turn in MIRRORED_DOWN:
            top, bottom = height - bottom, height - top
        box = (top, left, bottom, right) if self.turn in SIDEWAYS else (left, top, right, bottom)
        part = self.image if box == (0, 0, *self.image.size) else self.image.crop(box)
        return part if self.turn is None else part.transpose(self.turn)

    def upright(self) -> Image.Image:
        """The whole image."""
        return self.part(0, 0, *self.size)


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
        """An image file -> float32 [channels, height, width]. Raises InvalidInputError, naming `field`."""
        return self.from_decoded(load(read_header(data, field), self.least_side, field))

    def from_image(self, image: Image.Image) -> Pixels:
        """An upright image of any size and mode -> float32 [channels, height, width]."""
        return self.from_decoded(Decoded(image))

    def from_decoded(self, decoded: Decoded) -> Pixels:
        """A decoded image -> float32 [channels, height, width]."""
        settings = self._settings
        image = resized(decoded, self._size(decoded.size), settings.mode, self._resample)
        if settings.resize_short_side is not None:
            left, top = (image.width - settings.width) // 2, (image.height - settings.height) // 2
            image = image.crop((left, top, left + settings.width, top + settings.height))
        pixels = np.asarray(image, dtype=np.float32)
        planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(planes * self._scale - self._shift)

    def _size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The size that an upright image of `size` is resized to."""
        settings = self._settings
        if settings.resize_short_side is None:
            return settings.width, settings.height
        ratio = settings.resize_short_side / min(size)
        return max(round(size[0] * ratio), settings.width), max(round(size[1] * ratio), settings.height)

    def resizing_bytes(self, size: tuple[int, int]) -> int:
        """The memory that it takes to resize a decoded image of `size`: one pass's result, and the other's."""
        width, height = self._size(size)
        return 4 * (max(width * size[1], height * size[0]) + width * height)

    def from_pixels(self, pixels: NDArray[np.uint8]) -> Pixels:
        """uint8 [height, width, channels] or [height, width] -> float32 [channels, height, width]."""
        array = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels
        return self.from_image(Image.fromarray(np.ascontiguousarray(array)))

    def collate(self, items: Sequence[Pixels]) -> dict[str, Pixels]:
        """float32 [batch, channels, height, width], under the graph's input name."""
        return {self._settings.input: np.stack(items)}

    def merged(self, logits: Logits, _items: Sequence[Pixels]) -> Logits:
        """Logits [items, labels] of a batch: each image is one row of it."""
        return logits


def reduce(image: Image.Image, least_side: int) -> None:
    """Have an image from `read_header` decoded smaller, if it is a JPEG.

    Its sides never become smaller than `REDUCING_GAP` times `least_side` pixels. The first call alone counts.
    """
    # The draft of other formats is a small picture beside the large one, which may show something else.
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        image.draft(None, (REDUCING_GAP * least_side, REDUCING_GAP * least_side))


def load(image: Image.Image, least_side: int, field: str = "image") -> Decoded:
    """Decode an image from `read_header`, reduced, and read from its EXIF data how to turn it upright.

    Raises InvalidInputError if the file is damaged.
    """
    try:
        reduce(image, least_side)
        image.load()
    except DAMAGE as error:
        raise damaged(field, error) from None
    try:
        return Decoded(image, TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1)))
    except DAMAGE:
        return Decoded(image)  # the image is whole, only its orientation cannot be read


def resized(decoded: Decoded, size: tuple[int, int], mode: str, resample: Image.Resampling) -> Image.Image:
    """A decoded image, upright, as `mode` and resized.

    Pillow resizes in two passes, with whole numbers between (`ImagingResample`). So to do the first pass in bands, and
    the second on what they give, makes the same pixels. Since Pillow 13 the first pass is over the columns where the
    height shrinks by more than twice as many pixels as the width.
    """
    width, height = decoded.size
    if width * height <= WHOLE_PIXELS:
        whole = to_mode(decoded.upright(), mode)
        return whole if whole.size == size else whole.resize(size, resample)
    if height - size[1] > max(0, 2 * (width - size[0])):
        between = Image.new(mode, (width, size[1]))
        step = max(1, BAND_PIXELS // height)
        for left in range(0, width, step):
            band = to_mode(decoded.part(left, 0, min(left + step, width), height), mode)
            between.paste(band.resize((band.width, size[1]), resample), (left, 0))
    else:
        between = Image.new(mode, (size[0], height))
        step = max(1, BAND_PIXELS // width)
        for top in range(0, height, step):
            band = to_mode(decoded.part(0, top, width, min(top + step, height)), mode)
            between.paste(band.resize((size[0], band.height), resample), (0, top))
    return between.resize(size, resample)


def to_mode(image: Image.Image, mode: str) -> Image.Image:
    """An image of any mode converted to `mode`, RGB or L, as a viewer would show it on white."""
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        # 16-bit grey: Pillow's own conversion clips instead of scaling.
        image = Image.fromarray((np.asarray(image, dtype=np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.mode in ("RGBA", "RGBa", "LA", "PA") or "transparency" in image.info:
        # Transparent pixels have a colour that no viewer shows.
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
