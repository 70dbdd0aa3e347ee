"""Reads large JSON in pieces, so that other requests are seen in between.

orjson holds the event loop for a millisecond a megabyte, from a thread too, since it never lets go of the interpreter.
Nearly all of a large body is a few long strings. They are taken out first; what is left is small.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from serving.errors import KINDS

# Parsed in one go, in less than 0.1 ms.
SMALL_BYTES = 65_536
# Shorter strings stay where they are, 128 of them in a list of pairs. What is left may have at most so many bytes;
# Python's objects take thirty times as much.
SHORT_BYTES = 512
REST_BYTES = 98_304
# Bytes of strings with escapes that are looked at before other requests have a turn; a string takes a few by itself.
BYTES_AT_ONCE = 32_768
STRING_BYTES = 32
INSIDE = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
QUOTATION_MARK, BACKSLASH = b'"\\'
# A character may be two escapes, a surrogate pair, of 6 bytes each.
CHARACTER_BYTES = 12
# Stands for a string that was taken out. No client can know it.
PLACEHOLDER = os.urandom(8).hex()


class LongString:
    """A string of a JSON document as it stands there, without its quotation marks."""

    def __init__(self, raw: memoryview) -> None:
        self.raw = raw

    def parsed(self) -> str:
        """The string. Raises orjson.JSONDecodeError if it is not sound."""
        text: str = orjson.loads(b"".join((b'"', self.raw, b'"')))
        return text


# A client has sent a string, whatever holds it here.
KINDS[LongString] = "a string"


async def parsed(data: bytes, longest: int, most: int, depth: int = 1) -> object:
    """The value of a JSON document, whose long strings lie in its object or in at most `depth` values within that.

    Strings of more than `longest` characters stay LongString, and so do long ones beyond the first `most`: parsed, a
    string takes up to four times as much memory as in `data`. Raises orjson.JSONDecodeError if it is not JSON,
    ValueError if there is too much in it beside long strings.
    """
    rest, strings = await _taken_apart(data)
    value = orjson.loads(rest)
    if not isinstance(value, dict):
        return value
    # Of a key that comes twice the last value counts, so not all strings are in the object.
    for count, (holder, key, place) in enumerate(list(_placeholders(value, depth))):
        string = strings[place]
        holder[key] = string
        if count < most and len(string.raw) <= longest * CHARACTER_BYTES:
            await asyncio.sleep(0)
            text = string.parsed()
            holder[key] = text if len(text) <= longest else string
    return {_key(key, strings): entry for key, entry in value.items()}


async def _taken_apart(data: bytes) -> tuple[bytes, list[LongString]]:
    """The document with placeholders for its long strings, and these strings."""
    view, rest = memoryview(data), bytearray()
    strings: list[LongString] = []
    kept = at = looked_at = 0  # what lies before `kept` is in `rest`
    while (begin := data.find(b'"', at)) >= 0:
        end = await _end_of_string(data, begin + 1)
        if end > begin + SHORT_BYTES:
            rest += view[kept : begin + 1]
            rest += f"{PLACEHOLDER}{len(strings)}".encode()
            strings.append(LongString(view[begin + 1 : end]))
            kept = end
        _require_little(len(rest) + end - kept)
        at = end + 1
        looked_at += at - begin + STRING_BYTES
        if looked_at > BYTES_AT_ONCE:
            looked_at = 0
            await asyncio.sleep(0)
    _require_little(len(rest) + len(data) - kept)
    rest += view[kept:]
    return bytes(rest), strings


async def _end_of_string(data: bytes, begin: int) -> int:
    """Where the quotation mark is that ends the string from `begin`; the end of the data if there is none."""
    end = data.find(b'"', begin)
    if end < 0:
        return len(data)  # orjson says what is missing
    if data[end - 1] != BACKSLASH:
        return end
    # The mark may belong to the string, so count its escapes.
    at = begin
    while True:
        match = INSIDE.match(data, at, at + BYTES_AT_ONCE)
        assert match is not None, "it matches nothing, too"
        if match.end() == len(data) or data[match.end()] == QUOTATION_MARK:
            return match.end()
        if match.end() == at:
            return len(data)  # a backslash and nothing behind it
        at = match.end()
        await asyncio.sleep(0)


def _require_little(count: int) -> None:
    if count > REST_BYTES:
        raise ValueError(f"more than {REST_BYTES:,} bytes beside long strings")


def _placeholders(value: dict[str, Any] | list[Any], depth: int) -> Iterator[tuple[Any, Any, int]]:
    """Where placeholders are in an object and what it holds: the object or list, the key or index, and which string."""
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(entry, str):
            if entry.startswith(PLACEHOLDER):
                yield value, key, int(entry[len(PLACEHOLDER) :])
        elif depth and isinstance(entry, dict | list):
            yield from _placeholders(entry, depth - 1)


def _key(key: str, strings: Sequence[LongString]) -> str:
    """A key; of a long one its beginning, which no request may have."""
    if not key.startswith(PLACEHOLDER):
        return key
    return bytes(strings[int(key[len(PLACEHOLDER) :])].raw[:SHORT_BYTES]).decode(errors="replace")
