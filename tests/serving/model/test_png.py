"""A PNG file is read without what it says beside its pixels."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from serving.errors import InvalidInputError
from serving.model.image import ImageDecoder, load
from serving.model.image_header import read_header
from serving.model.png import CHUNK_BYTES, MAX_XMP_BYTES, without_metadata
from tests.serving.model.test_image import SETTINGS, animation, encoded, noise


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def kinds(data: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(data):
        found.append(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return found


def beside(*chunks: bytes, end: bool = False) -> bytes:
    """A PNG file with these chunks behind its first one, or before its last."""
    file = encoded(noise(20, 30))
    place = len(file) - 12 if end else 33
    return file[:place] + b"".join(chunks) + file[place:]


BOMB = zlib.compress(bytes(50_000_000), 9)
METADATA = [
    chunk(b"zTXt", b"a\0\0" + zlib.compress(b"x" * 2_000_000)),
    chunk(b"zTXt", b"a\0\0" + BOMB),
    chunk(b"iTXt", b"a\0\1\0\0\0" + BOMB),
    chunk(b"iCCP", b"a\0\0" + BOMB),
    chunk(b"iCCP", b"a\0\7" + BOMB),
    chunk(b"tEXt", b"a\0" + b"x" * 3_000_000),
    chunk(b"tEXt", b"a\0x")[:-4] + b"crc!",
    b"".join(chunk(b"teSt", b"") for _ in range(1_000)),
]


@pytest.mark.parametrize("end", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize(
    "metadata", METADATA, ids=["2MB", "text-bomb", "itxt-bomb", "icc-bomb", "icc", "3MB", "crc", "many"]
)
def test_a_whole_file_is_read_whatever_it_says_beside_its_pixels(metadata: bytes, end: bool) -> None:
    """A design tool's document in a text, a camera's profile: none of them is unpacked."""
    decoder = ImageDecoder(SETTINGS)
    file = beside(metadata, end=end)
    np.testing.assert_array_equal(decoder.decode(file), decoder.decode(encoded(noise(20, 30))))
    image = load(read_header(file), 16).image
    assert set(image.info) == set()


def test_what_pixels_need_stays() -> None:
    file = encoded(noise(8, 8).convert("P"), transparency=3, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0", dpi=(72, 72))
    assert kinds(file) == [b"IHDR", b"PLTE", b"tRNS", b"pHYs", b"eXIf", b"IDAT", b"IEND"]
    assert kinds(without_metadata(file)) == [b"IHDR", b"PLTE", b"tRNS", b"eXIf", b"IDAT", b"IEND"]
    assert kinds(without_metadata(animation())) == kinds(animation())


@pytest.mark.parametrize("kind", [b"IDAT", b"tEXt"])
def test_a_file_of_absurdly_many_chunks_is_refused(kind: bytes) -> None:
    with pytest.raises(InvalidInputError, match=r"may have at most 1,\d+ chunks in a PNG file of its size, got more"):
        read_header(beside(chunk(kind, b"") * 5_000, end=True))


def test_a_file_may_have_a_chunk_for_each_kilobyte() -> None:
    pieces = b"".join(chunk(b"teSt", bytes(CHUNK_BYTES - 12)) for _ in range(5_000))
    assert read_header(beside(pieces)).size == (20, 30)


def test_a_file_without_metadata_is_not_copied() -> None:
    file = encoded(noise(8, 8))
    assert without_metadata(file) is file


def test_what_comes_once_is_kept_once_and_what_follows_the_end_is_not_kept() -> None:
    exif = chunk(b"eXIf", b"MM\0*")
    assert without_metadata(beside(exif, exif) + b"trailing") == beside(exif)


@pytest.mark.parametrize(("size", "height"), [(0, 20), (MAX_XMP_BYTES, 30)])
def test_the_orientation_may_come_from_xmp(size: int, height: int) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", '<x tiff:Orientation="6"/>' + "x" * size)
    assert load(read_header(encoded(noise(20, 30), pnginfo=info)), 16).size == (50 - height, height)


@pytest.mark.parametrize("length", range(8, 60, 3))
def test_a_file_that_is_cut_off_stays_cut_off(length: int) -> None:
    file = encoded(noise(8, 8), dpi=(72, 72))[:length]
    whole = without_metadata(file)
    assert file.startswith(whole[:33])
    assert len(whole) <= len(file)


def test_it_is_the_image_of_pillow_otherwise() -> None:
    image = load(read_header(encoded(noise(20, 30), dpi=(72, 72))), 16).image
    assert isinstance(image, Image.Image)
    assert image.format == "PNG"
