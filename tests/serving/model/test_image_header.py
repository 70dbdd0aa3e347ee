"""The rules for the head of an image file."""

from __future__ import annotations

import struct

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from serving.errors import InvalidInputError
from serving.model.formats import ImageFormats
from serving.model.image import ImageDecoder, load
from serving.model.image_header import MAX_BYTES, read_header
from serving.model.weight import COUNTS, decoding_bytes
from tests.serving.model.test_image import SETTINGS, animation, encoded, enormous, noise

AVIF_TOO = ImageFormats(("jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"))


# Types of the values of TIFF's tags.
ASCII, LONG, UNDEFINED, SIGNED, FLOAT = 2, 4, 7, 9, 11


def tiff(tags: dict[int, tuple[int, int]]) -> bytes:
    """A grey TIFF file of 20 x 30 pixels with these tags too, each a type and 4 bytes."""
    # Width, length, bits, compression, kind of colour, offset and bytes of its strip.
    whole = {256: 20, 257: 30, 258: 8, 259: 1, 262: 1, 273: 8, 279: 100}
    all_tags = {tag: (LONG, value) for tag, value in whole.items()} | tags
    entries = b"".join(
        struct.pack("<HHII", tag, kind, 4 if kind in (ASCII, UNDEFINED) else 1, value)
        for tag, (kind, value) in sorted(all_tags.items())
    )
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(all_tags)) + entries + bytes(200)


def frames(kind: str) -> bytes:
    red, blue = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))
    return encoded(red, kind, save_all=True, append_images=[blue])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "0 bytes"),
        (b"hello, this is no image", "something else"),
        (encoded(noise(), "ICO"), "something else"),
        (encoded(noise(), "AVIF"), "bytes of AVIF, which this service does not read"),
        (b"\0\0\0\x18ftypheic" + bytes(100), "bytes of HEIC, which this service does not read"),
        (encoded(noise())[:-40], "damaged or truncated"),
        (encoded(noise(200, 200), "JPEG")[:-400], "damaged or truncated"),
        (animation(), "an animation"),
        (b"\xff" * (MAX_BYTES + 1), "at most 10,000,000 bytes"),
        (enormous(), "at most 40 megapixels"),
    ],
    ids=[
        "empty",
        "text",
        "icon",
        "avif",
        "heic",
        "truncated-png",
        "truncated-jpeg",
        "animated",
        "too-many-bytes",
        "too-many-pixels",
    ],
)
def test_a_bad_image_is_named_by_field_rule_and_kind(data: bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match="image: must") as error:
        ImageDecoder(SETTINGS).decode(data)
    assert says in str(error.value)


def test_a_strip_is_refused_before_it_is_blown_up() -> None:
    with pytest.raises(InvalidInputError, match=r"image: must .*50"):
        ImageDecoder(SETTINGS).decode(encoded(noise(2, 150)))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "AVIF"])
def test_an_animation_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInputError, match="must be a still image, got an animation; send one frame"):
        read_header(frames(kind), formats=AVIF_TOO)


@pytest.mark.parametrize("kind", ["MPO", "TIFF"])
def test_of_a_cameras_pictures_and_of_pages_the_first_is_taken(kind: str) -> None:
    """Phones and cameras keep a second picture behind a JPEG: the depth, the other eye, a preview."""
    decoder = ImageDecoder(SETTINGS)
    pixels = decoder.decode(frames(kind))
    assert pixels[0].min() > 0.9, "red"
    assert pixels[2].max() < -0.9, "not blue"
    assert read_header(frames("MPO")).format == "JPEG"


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (encoded(Image.fromarray(np.ones((8, 8), dtype=np.float32)), "TIFF"), r"samples of another kind \(F\)"),
        (encoded(noise(), "TIFF", compression="lzma"), "a TIFF file with the compression lzma"),
        (encoded(noise(), "TIFF", compression="zstd"), "a TIFF file with the compression zstd"),
    ],
    ids=["float", "lzma", "zstd"],
)
def test_an_unusual_tiff_is_refused(file: bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match=f"must have 8 bits a sample, .*got {says}; save it as PNG"):
        read_header(file)


def test_a_bmp_with_run_lengths_is_refused() -> None:
    file = bytearray(encoded(noise().convert("P"), "BMP"))
    file[30] = 1  # the field `compression`
    with pytest.raises(InvalidInputError, match="got a BMP file with run lengths; save it as PNG"):
        read_header(bytes(file))


def test_a_tile_that_is_mostly_empty_room_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="got a TIFF file with tiles of 16000 x 16000"):
        read_header(tiff({322: (LONG, 16_000), 323: (LONG, 16_000), 324: (LONG, 8), 325: (LONG, 100)}))


@pytest.mark.parametrize("tag", COUNTS, ids=["samples", "rows", "tile's width", "tile's length"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [(ASCII, 0x616161), (UNDEFINED, 0x616161), (FLOAT, 0x7FC00000), (FLOAT, 0x3F800000), (SIGNED, 2**32 - 1)],
    ids=["text", "bytes", "NaN", "1.0", "-1"],
)
def test_a_tiff_that_counts_in_something_else_than_whole_numbers_is_damaged(tag: int, kind: int, value: int) -> None:
    tags = dict.fromkeys(COUNTS, (LONG, 1)) | {tag: (kind, value)}
    with pytest.raises(InvalidInputError, match="must be a whole image file, got a damaged or truncated one"):
        decoding_bytes(read_header(tiff(tags)))


@pytest.mark.parametrize(("kind", "value"), [(FLOAT, 0x41000000), (ASCII, 0x616161)], ids=["8.0", "text"])
def test_a_tiff_whose_samples_have_no_whole_number_of_bits_is_damaged(kind: int, value: int) -> None:
    with pytest.raises(InvalidInputError):
        decoding_bytes(read_header(tiff({258: (kind, value)})))


def test_a_tiff_of_one_strip_is_read() -> None:
    assert decoding_bytes(read_header(tiff({278: (LONG, 2**32 - 1)}))) > 0


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_what_follows_the_end_of_a_file_is_passed_over(kind: str) -> None:
    file = encoded(noise(40, 30), kind)
    decoder = ImageDecoder(SETTINGS)
    np.testing.assert_array_equal(decoder.decode(file + b"\0trailing" * 1000), decoder.decode(file))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_large_colour_profile_and_large_exif_data_are_passed_over(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "x" * 60_000
    file = encoded(noise(40, 30), kind, icc_profile=bytes(3_000_000), exif=exif)
    assert len(file) > 60_000
    assert ImageDecoder(SETTINGS).decode(file).shape == (3, 16, 16)


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"\xff\xd8", b"\xff\xe1\x00\x09Exif\0\0x"),
        (b"\xff\xd8\xff\xd8", b"j"),
        (b"GIF89a\x10\0\x10\0\0\0\0!\xfe", b"\x01x"),
    ],
    ids=["jpeg", "jpeg-junk", "gif"],
)
def test_a_head_of_very_many_parts_is_given_up(begin: bytes, part: bytes) -> None:
    """Pillow would join what it has again for each part."""
    with pytest.raises(InvalidInputError, match="damaged or truncated"):
        read_header(begin + part * (MAX_BYTES // len(part) - 10))


FILES = [
    encoded(noise(24, 20), "JPEG"),
    encoded(noise(24, 20), "JPEG", progressive=True),
    frames("MPO"),
    encoded(noise(24, 20)),
    encoded(noise(24, 20).convert("P")),
    animation(),
    encoded(noise(24, 20), "WEBP"),
    encoded(noise(24, 20), "WEBP", lossless=True, exif=Image.Exif()),
    frames("WEBP"),
    encoded(noise(24, 20), "GIF"),
    frames("GIF"),
    encoded(noise(24, 20), "BMP"),
    encoded(noise(24, 20).convert("P"), "BMP"),
    encoded(noise(24, 20), "TIFF"),
    encoded(noise(24, 20), "TIFF", compression="jpeg"),
    encoded(noise(24, 20).convert("1"), "TIFF", compression="group4"),
    frames("TIFF"),
    encoded(noise(24, 20), "AVIF"),
]


@pytest.mark.filterwarnings("ignore")  # Pillow's, of damage that it passes over
@hypothesis.given(
    file=st.sampled_from(FILES),
    edits=st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=4)), max_size=4),
    keep=st.integers(0, 5_000),
)
@hypothesis.settings(max_examples=600)
def test_a_damaged_file_is_decoded_or_refused_and_nothing_else(
    file: bytes, edits: list[tuple[int, bytes]], keep: int
) -> None:
    damaged = bytearray(file)
    for place, data in edits:
        damaged[place : place + len(data)] = data
    try:
        image = read_header(bytes(damaged[:keep]), formats=AVIF_TOO)
        assert ImageDecoder(SETTINGS).from_decoded(load(image, 16)).shape == (3, 16, 16)
    except InvalidInputError:
        pass


def test_other_formats_are_read_only_where_they_are_named() -> None:
    png_alone = ImageFormats(("png",))
    assert read_header(encoded(noise()), formats=png_alone).format == "PNG"
    with pytest.raises(InvalidInputError, match=r"must be a PNG image, got .* bytes of JPEG, which"):
        read_header(encoded(noise(), "JPEG"), formats=png_alone)
