from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest
from PIL import Image

from optimize.data.image_file import ImageFile
from optimize.errors import DataError
from tests.serving.model.test_image_header import ASCII, LONG, tiff


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    return file.getvalue()


def test_a_file_and_its_bytes_are_the_same_image(tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(png())
    on_disk, in_memory = ImageFile("on disk", tmp_path / "red.png"), ImageFile("in memory", png())
    assert on_disk.read() == in_memory.read() == png()
    assert on_disk.sha256 == in_memory.sha256 == hashlib.sha256(png()).digest()


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data row 7 cannot be read \(.*No such file.*\); bring the file, or leave"):
        ImageFile("row 7", tmp_path / "gone.png")


def test_what_a_request_would_be_refused_for_is_refused_here() -> None:
    with pytest.raises(DataError, match=r"data row 7: must be a JPEG, PNG, .* image"):
        ImageFile("row 7", b"no image")


def test_a_malformed_tiff_is_named() -> None:
    with pytest.raises(DataError, match="data row 7: must be a whole image file, got a damaged or truncated one"):
        ImageFile("row 7", tiff({322: (ASCII, 0x616161), 323: (LONG, 1)}))


def test_a_truncated_file_has_a_head_and_is_not_whole() -> None:
    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).save(file, "JPEG")
    ImageFile("row 7", file.getvalue()).require_whole()
    half = ImageFile("row 7", file.getvalue()[: len(file.getvalue()) // 2])
    with pytest.raises(DataError, match="data row 7: must be a whole image file, got a damaged or truncated one"):
        half.require_whole()
