"""Which formats are read, and that no other decoder sees a file."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from PIL import Image, UnidentifiedImageError

from serving.errors import SettingsError
from serving.model.formats import NAMES, ImageFormats, kind_of_file
from serving.settings import IMAGE_FORMATS, ImageFormat
from tests.conftest import ROOT
from tests.serving.model.test_image import encoded, noise

FILES: dict[ImageFormat, bytes] = {
    "jpeg": encoded(noise(), "JPEG"),
    "png": encoded(noise()),
    "webp": encoded(noise(), "WEBP"),
    "gif": encoded(noise(), "GIF"),
    "bmp": encoded(noise(), "BMP"),
    "tiff": encoded(noise(), "TIFF"),
    "avif": encoded(noise(), "AVIF"),
}
OTHERS = [encoded(noise(), kind) for kind in ("ICO", "PPM", "TGA", "JPEG2000", "PCX", "SGI", "DDS", "DIB", "EPS")]


def test_every_format_has_a_name() -> None:
    assert set(NAMES) == set(get_args(ImageFormat)) == {*FILES, "heif"}
    assert ImageFormats().said == "JPEG, PNG, WebP, GIF, BMP or TIFF"
    assert ImageFormats(("png",)).said == "PNG"


@pytest.mark.parametrize("name", FILES)
def test_a_format_is_read_where_it_is_named_and_nowhere_else(name: ImageFormat) -> None:
    formats = ImageFormats((name,))
    assert formats.open(FILES[name]).size == (20, 30)
    assert formats.reads(name)
    for other in set(FILES) - {name}:
        assert not formats.reads(other)
        with pytest.raises(UnidentifiedImageError):
            formats.open(FILES[other])


@pytest.mark.parametrize("file", OTHERS)
def test_no_other_decoder_sees_a_file(file: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def reached(*_: object) -> None:
        raise AssertionError("a decoder that is not named")

    named = {name.upper() for name in IMAGE_FORMATS}
    Image.init()
    for each in set(Image.OPEN) - named:
        monkeypatch.setitem(Image.OPEN, each, (reached, reached))
    with pytest.raises(UnidentifiedImageError):
        ImageFormats().open(file)


@pytest.mark.parametrize("name", FILES)
def test_the_first_bytes_state_the_format(name: ImageFormat) -> None:
    assert kind_of_file(FILES[name]) == name
    assert kind_of_file(FILES[name][:1]) is None


@pytest.mark.parametrize("brands", [b"heic\0\0\0\0mif1", b"mif1\0\0\0\0heic", b"mif1\0\0\0\0mif1heic"])
def test_a_phones_heic_is_told_from_avif(brands: bytes) -> None:
    assert kind_of_file(b"\0\0\0\x1cftyp" + brands + bytes(20)) == "heif"


def test_heif_without_its_package_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        SettingsError, match=r"heif needs the package pillow-heif, .*install it with .*or leave heif out"
    ):
        ImageFormats(("png", "heif"))


def test_heif_is_read_with_its_package() -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra `heif` is not installed")
    registered = dict(Image.OPEN)
    try:
        formats = ImageFormats(("png", "heif"))
        heif.register_heif_opener()
        file = encoded(noise(64, 48), "HEIF", save_all=True, append_images=[noise(32, 32)], primary_index=0)
        image = formats.open(file)
        assert (image.format, image.size) == ("HEIF", (64, 48))
        image.load()
        assert image.mode == "RGB"
    finally:
        Image.OPEN.clear()
        Image.OPEN.update(registered)


def test_a_malformed_file_writes_nothing_to_the_error_stream() -> None:
    """Pillow warns and logs, libtiff writes by itself."""
    script = """
import sys
from serving.errors import InvalidInputError
from serving.model.image import load
from serving.model.image_header import read_header

file = sys.stdin.buffer.read()
for at in range(len(file)):
    try:
        load(read_header(file[:at] + b"c" + file[at + 1 :]), 16)
    except InvalidInputError:
        pass
"""
    for compression in ("group4", "tiff_lzw"):
        file = encoded(noise(8, 8).convert("1"), "TIFF", compression=compression)
        done = subprocess.run(
            [sys.executable, "-W", "default", "-c", script], input=file, cwd=ROOT, capture_output=True
        )
        assert (done.returncode, done.stderr) == (0, b"")
