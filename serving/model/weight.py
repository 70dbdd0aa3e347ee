"""How much memory it takes to decode an image file, by its head."""

from __future__ import annotations

import os

from PIL import Image, JpegImagePlugin, TiffImagePlugin

# A larger image is converted and resized in bands of BAND_PIXELS.
WHOLE_PIXELS = 1_000_000
BAND_PIXELS = 250_000
# Pillow's bytes for a pixel where they are not 4, and how many copies of a band or a small image there are at a time.
BYTES_A_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
WHOLE_COPIES = 5
# What the decoders of these formats hold of a pixel beside Pillow's image of it: the decoder's own picture, and the
# bytes that it hands over.
DECODER_BYTES_A_PIXEL = {"WEBP": 12, "AVIF": 12, "HEIF": 12}
BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH, ORIENTATION = 258, 277, 278, 322, 323, 274
# Those that a TIFF file counts pixels with. `read_header` sees to it that they are whole numbers.
COUNTS = SAMPLES_PER_PIXEL, ROWS_PER_STRIP, TILE_WIDTH, TILE_LENGTH


def decoding_bytes(image: Image.Image) -> int:
    """The memory that it takes to decode an image from `read_header` after `reduce`, and to convert its bands."""
    pixels = image.width * image.height
    decoder = _decoder_bytes(image, pixels)
    if pixels <= WHOLE_PIXELS:
        return WHOLE_COPIES * 4 * pixels + decoder
    return BYTES_A_PIXEL.get(image.mode, 4) * pixels + WHOLE_COPIES * 4 * BAND_PIXELS + decoder


def _decoder_bytes(image: Image.Image, pixels: int) -> int:
    """What the decoder holds beside Pillow's image."""
    if isinstance(image, JpegImagePlugin.JpegImageFile):
        return _coefficient_bytes(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return _strip_bytes(image) + _turning_bytes(image)
    return DECODER_BYTES_A_PIXEL.get(image.format or "", 0) * pixels


def _coefficient_bytes(image: JpegImagePlugin.JpegImageFile) -> int:
    """What libjpeg keeps of a file of several scans, such as a progressive one: 2 bytes for each sample of the file."""
    if not _several_scans(image):
        return 0
    # A block of pixels has one sample of each layer, or several where a layer is sampled more finely.
    samples = sum(across * down for _, across, down, _ in image.layer)
    block = max(layer[1] for layer in image.layer) * max(layer[2] for layer in image.layer)
    scale = image.decoderconfig[0] if image.decoderconfig else 1
    return int(2 * samples * image.width * image.height * scale * scale / block)


def _several_scans(image: JpegImagePlugin.JpegImageFile) -> bool:
    """Whether the first scan of a file leaves something to others: it is progressive, or lacks layers."""
    if image.info.get("progressive"):
        return True
    # Pillow has stopped behind the first scan's header: its length, the number of its layers, 2 bytes each, 3 others.
    length = 6 + 2 * image.layers
    assert image.fp is not None, "the image is not decoded yet"
    image.fp.seek(-length, os.SEEK_CUR)
    begin = image.fp.read(3)
    image.fp.seek(length - 3, os.SEEK_CUR)
    return begin != bytes((0, length, image.layers))


def _strip_bytes(image: TiffImagePlugin.TiffImageFile) -> int:
    """A strip or tile of a TIFF file, which libtiff unpacks as a whole."""
    tags = image.tag_v2
    rows = min(tags.get(ROWS_PER_STRIP, image.height), image.height)
    pixels = max(tags.get(TILE_WIDTH, 0) * tags.get(TILE_LENGTH, 0), image.width * rows)
    bits = max(tags.get(BITS_PER_SAMPLE, (1,))) * tags.get(SAMPLES_PER_PIXEL, 1)
    # Some kinds of colour are unpacked to 4 bytes by libtiff itself.
    return int(pixels * max(4, -(-bits // 8)))


def _turning_bytes(image: TiffImagePlugin.TiffImageFile) -> int:
    """Pillow turns a TIFF file upright when it loads it: a second copy."""
    turned = image.tag_v2.get(ORIENTATION, 1) != 1
    return BYTES_A_PIXEL.get(image.mode, 4) * image.width * image.height if turned else 0
