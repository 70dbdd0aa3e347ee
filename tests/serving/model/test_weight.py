"""What decoding takes, held against what a process really took."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from serving.model.image_header import read_header
from serving.model.weight import BAND_PIXELS, decoding_bytes
from tests.conftest import ROOT
from tests.serving.model.test_image import encoded, largest, noise


def large_jpeg(**options: object) -> bytes:
    row = np.arange(6_324 * 3, dtype=np.uint32).astype(np.uint8).reshape(1, 6_324, 3)
    return encoded(Image.fromarray(np.repeat(row, 6_324, axis=0)), "JPEG", **options)


def measured(data: bytes) -> tuple[int, int]:
    """Bytes that it took a process of its own to decode a file, by its peak (the kernel's VmHWM), and its weight."""
    script = """
import sys
from pathlib import Path
from serving.model.artifact import ImageSettings
from serving.model.formats import ImageFormats
from serving.model.image import ImageDecoder, load
from serving.model.image_header import read_header
from serving.model.preprocess import preparing_bytes

def peak():
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM")]
    return 1024 * int(line.split()[1])

decoder = ImageDecoder(ImageSettings(width=224, height=224, resize_short_side=256, mean=(0,) * 3, std=(1,) * 3))
formats = ImageFormats(("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"))
data = sys.stdin.buffer.read()
weight = preparing_bytes(decoder, decoder, read_header(data, formats=formats))
before = peak()
decoder.from_decoded(load(read_header(data, formats=formats), decoder.least_side))
print(peak() - before, weight)
"""
    done = subprocess.run([sys.executable, "-c", script], input=data, cwd=ROOT, capture_output=True, check=True)
    took, weight = map(int, done.stdout.split())
    return took, weight


@pytest.mark.parametrize(
    ("data", "megabytes"),
    [
        (lambda: largest(2), 160),
        (lambda: largest(3), 40),
        (lambda: largest(6), 160),
        (large_jpeg, 0),
        (lambda: large_jpeg(progressive=True), 120),
        (lambda: large_jpeg(progressive=True, subsampling=0), 240),
    ],
    ids=["rgb", "palette", "rgba", "jpeg", "progressive", "progressive without subsampling"],
)
def test_a_large_image_takes_the_memory_that_it_is_weighed_as(data: Callable[[], bytes], megabytes: int) -> None:
    took, weight = measured(data())
    assert took < weight + 10_000_000
    assert 0 <= weight - megabytes * 1_000_000 < 30_000_000


def stripes(side: int = 3_000) -> Image.Image:
    row = np.arange(side * 3, dtype=np.uint32).astype(np.uint8).reshape(1, side, 3)
    return Image.fromarray(np.repeat(row, side, axis=0))


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize(
    "data",
    [
        lambda: encoded(stripes(), "WEBP", method=0),
        lambda: encoded(stripes(), "WEBP", method=0, lossless=True),
        lambda: encoded(stripes().convert("RGBA"), "WEBP", method=0),
        lambda: encoded(stripes().convert("P"), "GIF"),
        lambda: encoded(stripes().convert("P"), "GIF", transparency=0),
        lambda: encoded(stripes(1_700), "BMP"),
        lambda: encoded(stripes(1_700), "TIFF"),
        lambda: encoded(stripes(), "TIFF", compression="tiff_lzw"),
        lambda: encoded(stripes(), "TIFF", compression="tiff_lzw", tiffinfo={278: 3_000}),
        lambda: encoded(stripes(), "TIFF", compression="tiff_lzw", exif=turned()),
        lambda: encoded(stripes().convert("CMYK"), "TIFF", compression="tiff_adobe_deflate"),
        lambda: encoded(stripes().convert("1"), "TIFF", compression="group4"),
        lambda: encoded(stripes(), "TIFF", compression="jpeg"),
        lambda: encoded(stripes(2_000), "AVIF", speed=10),
        lambda: encoded(stripes(2_000).convert("RGBA"), "AVIF", speed=10, subsampling="4:4:4"),
    ],
    ids=lambda _: "",
)
def test_every_format_takes_at_most_what_it_is_weighed_as(data: Callable[[], bytes]) -> None:
    took, weight = measured(data())
    assert took < weight + 10_000_000
    assert weight < 2 * took + 30_000_000, "and hardly less"


@pytest.mark.parametrize(("interleaved", "scans"), [(True, False), (False, True)])
def test_a_jpeg_whose_first_scan_lacks_layers_has_several(interleaved: bool, scans: bool) -> None:
    file = encoded(noise(1200, 1200), "JPEG")
    if not interleaved:
        # The header of the scan now says that it has one layer, the first of three.
        begin = file.index(b"\xff\xda")
        file = file[:begin] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00" + file[begin + 14 :]
    image = read_header(file)
    assert (decoding_bytes(image) > 4 * 1200 * 1200 + 20 * BAND_PIXELS) == scans
