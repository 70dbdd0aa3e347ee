from __future__ import annotations

import io
import struct
import tarfile
import zlib
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from serving.model import image as image_module
from serving.model.artifact import ImageSettings
from serving.model.formats import ImageFormats
from serving.model.image import REDUCING_GAP, TURNS, Decoded, ImageDecoder, load, resized, to_mode
from serving.model.image_header import read_header

SETTINGS = ImageSettings(width=16, height=16, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 20, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def animation() -> bytes:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    return encoded(frames[0], save_all=True, append_images=frames[1:])


def png(side: int, colour: int, compressed: bytes) -> bytes:
    """A square PNG file of a colour type (2: RGB, 3: palette, 6: RGBA) with these compressed rows."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, colour, 0, 0, 0)
    palette = chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
    parts = (chunk(b"IHDR", header), palette, chunk(b"IDAT", compressed), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def enormous() -> bytes:
    """A PNG whose header claims 30,000 x 30,000 pixels and whose data is a few bytes."""
    return png(30_000, 2, zlib.compress(b""))


def largest(colour: int = 6) -> bytes:
    """A PNG of just under 40 megapixels, in less than a megabyte."""
    side, channels = 6_324, {2: 3, 3: 1, 6: 4}[colour]
    row = bytes(1) + bytes(range(256)) * (side * channels // 256) + bytes(side * channels % 256)
    packer = zlib.compressobj(1)
    return png(side, colour, b"".join([packer.compress(row) for _ in range(side)]) + packer.flush())


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "CMYK", "1", "I;16"])
@pytest.mark.parametrize("wanted", ["RGB", "L"])
def test_every_colour_mode_becomes_the_one_asked_for(mode: str, wanted: str) -> None:
    if mode == "I;16":
        image = Image.fromarray((np.arange(256 * 4, dtype=np.uint16) * 64).reshape(32, 32))
    else:
        image = noise(32, 32).convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    channels = 3 if wanted == "RGB" else 1
    settings = ImageSettings(width=16, height=16, mode=wanted, mean=(0.5,) * channels, std=(0.5,) * channels)
    pixels = ImageDecoder(settings).decode(encoded(image, kind))
    assert pixels.shape == (channels, 16, 16)
    assert pixels.dtype == np.float32
    assert -1 <= pixels.min() < pixels.max() <= 1


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_colour_that_stands_for_transparency_is_white(mode: str) -> None:
    channels = len(mode) if mode == "RGB" else 1
    settings = ImageSettings(width=8, height=8, mode=mode, mean=(0,) * channels, std=(1,) * channels)
    image = Image.new(mode, (8, 8), "black")
    hidden = encoded(image, transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert ImageDecoder(settings).decode(hidden).min() == 1
    assert ImageDecoder(settings).decode(encoded(image)).max() == 0


def test_sixteen_bit_grey_keeps_its_range() -> None:
    image = Image.fromarray(np.full((16, 16), 32_768, dtype=np.uint16))
    settings = ImageSettings(width=16, height=16, mode="L", mean=(0.0,), std=(1.0,))
    assert ImageDecoder(settings).decode(encoded(image)).mean() == pytest.approx(0.5, abs=0.01)


def test_exif_orientation_is_applied() -> None:
    upright = noise(20, 30)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = load(read_header(encoded(upright, "JPEG", exif=exif, quality=100)), 16)
    assert turned.size == (30, 20)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("TIFF", {}), ("WEBP", {"lossless": True}), ("AVIF", {"quality": 100, "subsampling": "4:4:4"})],
)
def test_other_formats_are_turned_upright_once(kind: str, options: dict[str, object]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = noise(60, 30)
    file = encoded(image, kind, exif=exif, **options)
    turned = load(read_header(file, formats=ImageFormats(("tiff", "webp", "avif"))), 16)
    assert turned.size == (30, 60)
    upright = np.asarray(image.transpose(Image.Transpose.ROTATE_270), dtype=float)
    assert np.abs(np.asarray(to_mode(turned.upright(), "RGB")) - upright).mean() < (20 if kind == "AVIF" else 1)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_exif_data_that_is_damaged_is_passed_over() -> None:
    file = encoded(noise(20, 30), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=100)
    assert load(read_header(file), 16).size == (20, 30)


FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")


@hypothesis.given(
    mode=st.sampled_from(["RGB", "L", "P", "RGBA", "LA", "1", "I;16"]),
    wanted=st.sampled_from(["RGB", "L"]),
    resample=st.sampled_from(FILTERS),
    size=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    to=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    orientation=st.integers(1, 8),
    band=st.integers(1, 500),
)
def test_bands_give_the_pixels_of_the_whole_bit_for_bit(
    mode: str,
    wanted: str,
    resample: str,
    size: tuple[int, int],
    to: tuple[int, int],
    orientation: int,
    band: int,
) -> None:
    pixels = noise(*size)
    if mode == "I;16":
        pixels = Image.fromarray(np.asarray(pixels, dtype=np.uint16)[..., 0] * 257)
    else:
        pixels = pixels.convert(mode)
    pixels.getexif()[ExifTags.Base.Orientation] = orientation
    method = Image.Resampling[resample.upper()]
    whole = to_mode(ImageOps.exif_transpose(pixels), wanted).resize(to, method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_module, "WHOLE_PIXELS", 0)
        patch.setattr(image_module, "BAND_PIXELS", band)
        banded = resized(Decoded(pixels, TURNS.get(orientation)), to, wanted, method)
    assert (banded.mode, banded.size) == (wanted, to)
    assert banded.tobytes() == whole.tobytes()


def test_pixels_and_file_give_the_same_array() -> None:
    image = noise()
    decoder = ImageDecoder(SETTINGS)
    np.testing.assert_array_equal(decoder.decode(encoded(image)), decoder.from_pixels(np.asarray(image)))


def waves(side: int) -> Image.Image:
    across = np.sin(np.arange(side) * 8 * np.pi / side)
    return Image.fromarray(((across[:, None, None] * across[None, :, None] + [1, 1.5, 2]) * 80).astype(np.uint8))


@pytest.mark.parametrize(("side", "comes_out"), [(31, 31), (63, 63), (64, 32), (255, 64), (256, 32), (1000, 125)])
def test_a_large_jpeg_is_decoded_no_larger_than_resizing_needs(side: int, comes_out: int) -> None:
    image = load(read_header(encoded(waves(side), "JPEG")), 16)
    assert image.size == (comes_out, comes_out)
    assert comes_out >= min(side, REDUCING_GAP * 16)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_format_gives_the_pixels_of_its_image(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    image = noise(40, 30).convert("L")  # GIF has 256 colours
    decoder = ImageDecoder(SETTINGS)
    np.testing.assert_array_equal(decoder.decode(encoded(image, kind, **options)), decoder.from_image(image))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I;16B"])
@pytest.mark.parametrize("compression", ["raw", "packbits", "tiff_lzw", "tiff_adobe_deflate"])
def test_every_usual_tiff_is_what_the_same_pixels_are(mode: str, compression: str) -> None:
    if mode.startswith("I"):
        image = Image.fromarray((np.arange(256 * 4, dtype=np.uint16) * 64).reshape(32, 32))
        file = encoded(image, "TIFF", compression=compression, big_endian=mode == "I;16B")
    else:
        image = noise(32, 32).convert(mode)
        file = encoded(image, "TIFF", compression=compression)
    decoder = ImageDecoder(SETTINGS)
    np.testing.assert_array_equal(decoder.decode(file), decoder.from_image(image))


@pytest.mark.parametrize("crop", [None, 20])
def test_what_is_decoded_small_is_what_is_decoded_whole(crop: int | None) -> None:
    settings = SETTINGS.model_copy(update={"resize_short_side": crop})
    decoder, file = ImageDecoder(settings), encoded(waves(600), "JPEG")
    small, whole = decoder.decode(file), decoder.from_image(Image.open(io.BytesIO(file)))
    assert np.abs(small - whole).mean() < 0.01 < whole.std(), "in a range of 2"


def test_normalising_is_what_it_says() -> None:
    settings = ImageSettings(width=2, height=2, mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2))
    pixels = ImageDecoder(settings).from_pixels(np.full((2, 2, 3), 51, dtype=np.uint8))
    np.testing.assert_allclose(pixels[:, 0, 0], [(0.2 - 0.1) / 0.5, 0.0, (0.2 - 0.3) / 0.2], atol=1e-6)


def test_short_side_and_centre_crop() -> None:
    settings = ImageSettings(width=8, height=8, resize_short_side=8, mean=(0, 0, 0), std=(1, 1, 1))
    striped = np.zeros((8, 24, 3), dtype=np.uint8)
    striped[:, 8:16] = 255
    assert ImageDecoder(settings).from_pixels(striped).min() == pytest.approx(1.0)


def test_real_photographs_decode(shared_data: Path) -> None:
    settings = ImageSettings(width=224, height=224, resize_short_side=256, mean=(0.5,) * 3, std=(0.5,) * 3)
    decoder = ImageDecoder(settings)
    with tarfile.open(shared_data / "image" / "photos_100_s256.tar") as photos:
        files = [member for member in photos if member.name.lower().endswith((".jpg", ".jpeg"))][:10]
        assert len(files) == 10
        for member in files:
            pixels = decoder.decode(photos.extractfile(member).read())
            assert pixels.shape == (3, 224, 224)
            assert pixels.std() > 0.05


def test_a_strip_is_weighed_with_what_resizing_makes_of_it() -> None:
    decoder = ImageDecoder(SETTINGS.model_copy(update={"resize_short_side": 256}))
    assert decoder.resizing_bytes((44_700, 894)) == 4 * 12_800 * (894 + 256)
    assert ImageDecoder(SETTINGS).resizing_bytes((1_000, 1_000)) == 4 * 16 * (1_000 + 16)
