"""How many scans a JPEG file may have."""

from __future__ import annotations

import pytest

from serving.errors import InvalidInputError
from serving.model import parts
from serving.model.image import load
from serving.model.image_header import read_header
from serving.model.parts import BYTES_AT_ONCE, MAX_SCANS, TooManyPartsError, require_few_scans
from tests.serving.model.test_image import encoded, noise

# A scan that refines one layer and holds no bits: it takes as long as its picture is large.
SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x01\x3f\x00\x00\x3f"
END = b"\xff\xd9"


def with_scans(count: int) -> bytes:
    file = encoded(noise(50, 50), "JPEG", progressive=True)
    return file.removesuffix(END) + SCAN * count + END


def test_a_jpeg_of_absurdly_many_scans_is_refused() -> None:
    assert load(read_header(with_scans(50)), 16).size == (50, 50)
    with pytest.raises(InvalidInputError, match="may have at most 100 scans in a JPEG file, got more; save the image"):
        read_header(with_scans(20_000))


def test_bytes_that_are_no_head_of_a_scan_are_not_counted() -> None:
    """A film behind the picture has such bytes by chance."""
    require_few_scans(b"\xff\xda\x00\x0c\x01" * 1_000)
    require_few_scans(SCAN * MAX_SCANS)
    with pytest.raises(TooManyPartsError):
        require_few_scans(SCAN * (MAX_SCANS + 1))


@pytest.mark.parametrize("place", range(BYTES_AT_ONCE - 6, BYTES_AT_ONCE + 2))
def test_a_scan_across_two_pieces_is_counted_once(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MAX_SCANS", 1)
    data = bytes(place) + SCAN + bytes(100)
    require_few_scans(data)
    with pytest.raises(TooManyPartsError):
        require_few_scans(data + SCAN)
