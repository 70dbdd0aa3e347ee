"""What the head of an image file must keep to, before anything is decoded. A bad image fails here, alone."""

from __future__ import annotations

import struct
import warnings

from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from serving.errors import InvalidInputError, TooLargeError
from serving.model.formats import NAMES, ImageFormats, kind_of_file
from serving.model.parts import TooManyPartsError
from serving.model.weight import BITS_PER_SAMPLE, COUNTS, TILE_LENGTH, TILE_WIDTH

MAX_BYTES = 10_000_000
MAX_PIXELS = 40_000_000
# A strip of one pixel by millions is within MAX_PIXELS, but grows when its short side is resized.
MAX_ASPECT = 50
# What Pillow raises for damaged files.
DAMAGE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    struct.error,
    OverflowError,
    RuntimeError,
)
# Pages, or a camera's pictures of one moment: the first is the picture.
FIRST_OF_SEVERAL = {"TIFF", "HEIF"}
# Grey, colour or a palette, of 8 bits or of 16 in grey. TIFF has more, which say nothing of how bright white is.
MODES = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "I;16", "I;16B"}
# Pillow unpacks these in Python, a hundred times as slowly as anything else.
BMP_RUNS = {1, 2}
# Others (LZMA, Zstandard, …) state for themselves how much memory they take, or are hardly sent.
TIFF_COMPRESSIONS = {
    "raw",
    "packbits",
    "tiff_lzw",
    "tiff_adobe_deflate",
    "tiff_deflate",
    "jpeg",
    "tiff_ccitt",
    "group3",
    "group4",
}
# `read_header` checks MAX_PIXELS before anything is decoded, so Pillow need not warn.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

DEFAULT_FORMATS = ImageFormats()


def read_header(data: bytes, field: str = "image", formats: ImageFormats = DEFAULT_FORMATS) -> Image.Image:
    """An image file that is not decoded yet. Raises InvalidInputError if its size, format or header breaks a rule."""
    if not data:
        raise InvalidInputError(field, f"must not be empty, got 0 bytes; send a {formats.said} file")
    if len(data) > MAX_BYTES:
        raise TooLargeError(
            field, f"must have at most {MAX_BYTES:,} bytes, got {len(data):,}; send a smaller or more compressed image"
        )
    try:
        image = formats.open(data)
        _require_rules(image, field)
    except UnidentifiedImageError as error:
        raise _not_read(data, field, formats, error) from None
    except TooManyPartsError as error:
        raise InvalidInputError(field, f"may have at most {error}, got more; save the image again") from None
    except Image.DecompressionBombError:
        raise too_many_pixels(field, "far more") from None
    except DAMAGE as error:
        raise damaged(field, error) from None
    return image


def _require_rules(image: Image.Image, field: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise too_many_pixels(field, f"{image.width} x {image.height}")
    if image.format not in FIRST_OF_SEVERAL and getattr(image, "is_animated", False):
        raise InvalidInputError(field, "must be a still image, got an animation; send one frame")
    longer, shorter = max(image.size), min(image.size)
    if longer > MAX_ASPECT * shorter:
        raise InvalidInputError(
            field,
            f"must be at most {MAX_ASPECT} times as long as wide, got {image.width} x {image.height}; crop it first",
        )
    if image.mode not in MODES:
        raise _unusual(field, f"samples of another kind ({image.mode})")
    if image.format == "BMP" and image.info["compression"] in BMP_RUNS:
        raise _unusual(field, "a BMP file with run lengths")
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        _require_tiff_rules(image, field)


def _require_tiff_rules(image: TiffImagePlugin.TiffImageFile, field: str) -> None:
    if image.info["compression"] not in TIFF_COMPRESSIONS:
        raise _unusual(field, f"a TIFF file with the compression {image.info['compression']}")
    tags = image.tag_v2
    counts = [tags[tag] for tag in COUNTS if tag in tags]
    # A tag may be of any type, and Pillow reads it so: text, fractions, lists.
    for count in (*counts, *tags.get(BITS_PER_SAMPLE, ())):
        if not isinstance(count, int) or count < 0:
            raise ValueError("a tag that is no whole number")
    # A tile that covers the image and much more is room for nothing.
    width, length = (tags.get(tag, 0) for tag in (TILE_WIDTH, TILE_LENGTH))
    if width * length > max(4 * image.width * image.height, 1_000_000):
        raise _unusual(field, f"a TIFF file with tiles of {width} x {length}")


def _not_read(data: bytes, field: str, formats: ImageFormats, error: Exception) -> InvalidInputError:
    kind = kind_of_file(data)
    if formats.reads(kind):
        return damaged(field, error)
    got = "something else" if kind is None else f"{NAMES[kind]}, which this service does not read"
    return InvalidInputError(
        field, f"must be a {formats.said} image, got {len(data):,} bytes of {got}; convert it first"
    )


def too_many_pixels(field: str, got: str) -> InvalidInputError:
    """The error for an image with more than MAX_PIXELS."""
    return InvalidInputError(
        field, f"must have at most {MAX_PIXELS // 1_000_000} megapixels, got {got}; send a smaller image"
    )


def damaged(field: str, error: Exception) -> InvalidInputError:
    """The error for a file that Pillow cannot read."""
    return InvalidInputError(
        field, f"must be a whole image file, got a damaged or truncated one ({type(error).__name__}); send it again"
    )


def _unusual(field: str, got: str) -> InvalidInputError:
    return InvalidInputError(
        field, f"must have 8 bits a sample, or 16 in grey, in a usual encoding, got {got}; save it as PNG"
    )
