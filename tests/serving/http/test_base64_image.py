"""Base64 as clients write it, decoded in pieces."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from serving.errors import InvalidInputError
from serving.http import base64_image
from serving.http.base64_image import AT_ONCE, image_of
from serving.http.large_json import LongString
from serving.model.image_header import MAX_BYTES
from tests.serving.http.turns import counted

WAYS: dict[str, Callable[[bytes], str]] = {
    "plain": lambda data: base64.b64encode(data).decode(),
    "no padding": lambda data: base64.b64encode(data).decode().rstrip("="),
    "url-safe": lambda data: base64.urlsafe_b64encode(data).decode(),
    "url-safe, no padding": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    "lines of 76": lambda data: base64.encodebytes(data).decode(),
    "lines of 76, CRLF": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "data URL": lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
    "data URL with a parameter": lambda data: "data:image/png;name=a;BASE64," + base64.b64encode(data).decode(),
    "data URL without a type": lambda data: "data:;base64," + base64.b64encode(data).decode(),
}


def taken_out(text: str, slashes: bool = False) -> LongString:
    """A string as it stands in a JSON document, perhaps with escaped slashes, as PHP writes them."""
    raw = json.dumps(text)[1:-1]
    return LongString(memoryview((raw.replace("/", "\\/") if slashes else raw).encode()))


def read(value: object) -> bytes:
    return asyncio.run(image_of(value))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 1_000, AT_ONCE, 500_001])
def test_every_way_to_write_it_is_read(way: str, size: int) -> None:
    data = np.random.default_rng(0).bytes(size)
    text = WAYS[way](data)
    assert read(text) == data
    if text:
        assert read(taken_out(text)) == read(taken_out(text, slashes=True)) == data


@hypothesis.given(
    data=st.binary(max_size=200), way=st.sampled_from(list(WAYS)), at_once=st.integers(8, 60), slashes=st.booleans()
)
def test_pieces_may_end_anywhere(data: bytes, way: str, at_once: int, slashes: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base64_image, "AT_ONCE", max(at_once, 40 if way.startswith("data URL") else 0))
        assert read(taken_out(WAYS[way](data), slashes)) == data


@pytest.mark.parametrize(
    "value",
    [
        "?",
        "QQ==QUJD",
        "Q",
        "QUJDQ",
        "=",
        "QUJD=",
        "QUJ=D",
        "data:image/png,QUJD",
        "data:image/png;base64",
        "Bücher",
        "QUJD\0",
    ],
)
def test_what_is_no_base64_is_refused(value: str) -> None:
    for way in (value, taken_out(value)):
        with pytest.raises(InvalidInputError, match=r"image: must be base64 \(RFC 4648\) or a data URL") as error:
            read(way)
        assert value not in str(error.value)


def test_padding_between_pieces_is_no_base64() -> None:
    """Each piece would be sound by itself."""
    value = base64.b64encode(b"x" * (AT_ONCE // 4 * 3 - 1)) + base64.b64encode(b"abc")
    with pytest.raises(InvalidInputError, match="must be base64"):
        read(taken_out(value.decode()))


def test_a_string_that_is_not_sound_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="must be base64"):
        read(LongString(memoryview(b"QUJD\\qQUJD" * 100_000)))
    with pytest.raises(InvalidInputError, match="must be base64"):
        read(LongString(memoryview(b"\\\\" * AT_ONCE)))


@pytest.mark.parametrize("before", range(4))
def test_escapes_without_anything_between_are_read(before: int) -> None:
    """PHP writes a file of bytes 0xFF so."""
    data = bytes(3 * before) + b"\xff" * 300_000
    assert read(taken_out(base64.b64encode(data).decode(), slashes=True)) == data
    assert read(LongString(memoryview(b"A" * before + b"\\u0041" * (400_000 - before)))) == bytes(300_000)
    assert read(LongString(memoryview(b"\\n" * AT_ONCE))) == b""


def test_another_kind_of_value_is_named() -> None:
    with pytest.raises(InvalidInputError, match="image: must be a string of base64, got a number"):
        read(5)


def test_too_many_bytes_are_refused() -> None:
    largest = base64.b64encode(bytes(MAX_BYTES)).decode()
    assert len(read(taken_out(largest))) == MAX_BYTES
    with pytest.raises(InvalidInputError, match="image: must have at most 10,000,000 bytes, got more"):
        read(taken_out("AAAA" + largest))


@pytest.mark.parametrize("way", ["plain", "lines of 76, CRLF"])
def test_others_have_turns_in_between(way: str) -> None:
    value = taken_out(WAYS[way](bytes(5_000_000)))
    data, turns, longest_s = counted(lambda: image_of(value))
    assert data == bytes(5_000_000)
    assert turns >= len(value.raw) // AT_ONCE
    assert longest_s < 0.01
