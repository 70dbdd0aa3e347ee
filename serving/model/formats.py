"""The formats of image files: which are read, and how a file is opened. Only its head is read then."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import logging
import warnings
from collections.abc import Sequence
from typing import Any

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    _imaging,
)

from serving.errors import SettingsError
from serving.model import png
from serving.model.parts import require_few_scans
from serving.model.webp import WebPHead
from serving.settings import IMAGE_FORMATS, ImageFormat

NAMES: dict[ImageFormat, str] = {
    "jpeg": "JPEG",
    "png": "PNG",
    "webp": "WebP",
    "gif": "GIF",
    "bmp": "BMP",
    "tiff": "TIFF",
    "avif": "AVIF",
    "heif": "HEIC",
}
# Pillow imports all of its decoders when it is asked for one that it does not have yet; these it has.
_PLUGINS: dict[ImageFormat, Any] = {
    "jpeg": JpegImagePlugin,
    "png": PngImagePlugin,
    "webp": WebPImagePlugin,
    "gif": GifImagePlugin,
    "bmp": BmpImagePlugin,
    "tiff": TiffImagePlugin,
    "avif": AvifImagePlugin,
}
HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"}
# Pillow reads the parts of a head one by one, and joins some of them again for each part. A head that takes more calls
# than this was made to take long. GIF has parts of 255 bytes, in its pixels too.
HEAD_READS = 2_000
GIF_PART_BYTES = 64
# Pillow keeps a list of the strips of a TIFF file, a hundred times as large as in the file; libtiff does not.
TiffImagePlugin.READ_LIBTIFF = True
# Pillow and libtiff write a line for each thing that is wrong in a file, thousands for some; the client gets an error.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
with contextlib.suppress(AttributeError):  # a Pillow without libtiff
    _libtiff = ctypes.CDLL(_imaging.__file__)
    _libtiff.TIFFSetWarningHandler(None)
    _libtiff.TIFFSetErrorHandler(None)
# The service has threads of its own.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1


class ImageFormats:
    """The formats that are read. Pillow is told their names, so no other decoder sees a file.

    Raises SettingsError where the package for one of them is not installed.
    """

    def __init__(self, names: Sequence[ImageFormat] = IMAGE_FORMATS) -> None:
        self._ids = tuple(name.upper() for name in names)
        said = [NAMES[name] for name in names]
        self.said = " or ".join(filter(None, (", ".join(said[:-1]), said[-1])))
        """Their names, for a sentence."""
        if "heif" in names:
            _register_heif()

    def open(self, data: bytes) -> Image.Image:
        """The image in a file, not decoded yet; the first one of a camera's file with several.

        Raises TooManyPartsError, and what Pillow raises: UnidentifiedImageError, and other errors for damaged files.
        """
        kind = kind_of_file(data)
        if kind == "webp" and "WEBP" in self._ids:
            return WebPHead(io.BytesIO(data))
        if kind == "png":
            data = png.without_metadata(data)
        elif kind == "jpeg":
            require_few_scans(data)
        head = _Head(data, HEAD_READS + (len(data) // GIF_PART_BYTES if kind == "gif" else 0))
        image: Image.Image = Image.open(head, formats=self._ids)
        if isinstance(image, MpoImagePlugin.MpoImageFile):
            # Its first picture is a JPEG file of its own, with other data behind it.
            image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
        if image.format == "GIF":
            _ = image.is_animated  # type: ignore[attr-defined]  # Pillow then looks for a second frame
        head.left = None
        return image

    def reads(self, kind: ImageFormat | None) -> bool:
        """Whether files of this format are read."""
        return kind is not None and kind.upper() in self._ids


def kind_of_file(data: bytes) -> ImageFormat | None:
    """The format that the first bytes of a file state, None for another one."""
    start = data[:16]
    if start[4:8] == b"ftyp" and HEIC_BRANDS & {start[8:12], data[16:20], data[20:24]}:
        return "heif"
    for name, plugin in _PLUGINS.items():
        if plugin._accept(start):
            return name
    return None


class _Head(io.BytesIO):
    """A file of which only so many parts may be read, until `left` is None."""

    def __init__(self, data: bytes, reads: int) -> None:
        super().__init__(data)
        self.left: int | None = reads

    def read(self, size: int | None = -1, /) -> bytes:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise OSError("the head of the file has too many parts")
        return super().read(size)


def _register_heif() -> None:
    try:
        heif = importlib.import_module("pillow_heif")
    except ImportError:
        raise SettingsError(
            "image_formats: heif needs the package pillow-heif, and it is not installed; install it with "
            "`pip install '.[heif]'`, or leave heif out"
        ) from None
    heif.register_heif_opener()
    heif.options.DECODE_THREADS = 1
