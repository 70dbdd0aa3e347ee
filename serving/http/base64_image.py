"""Reads an image file from base64 as clients write it, piece by piece, so that other requests are seen in between."""

from __future__ import annotations

import asyncio
import binascii
import io
import re
from collections.abc import Iterator

import orjson

from serving.errors import InvalidInputError, TooLargeError, kind_of
from serving.http.large_json import LongString
from serving.model.image_header import MAX_BYTES

# Characters that are decoded in about half a millisecond.
AT_ONCE = 131_072
# Line ends (RFC 2045) are passed over, and the URL-safe alphabet (RFC 4648, section 5) is read as the usual one.
WHITE_SPACE = b"\r\n\t "
USUAL = bytes.maketrans(b"-_", b"+/")
DATA_URL = re.compile(rb"data:[^,]{0,200};base64,", re.IGNORECASE)
# Between a backslash and here an escape of JSON may not have ended.
ESCAPE_BYTES = 6


async def image_of(value: object, field: str = "image") -> bytes:
    """The bytes that the `field` of a JSON object holds: base64, or a data URL of base64.

    Raises InvalidInputError if it is neither, or if they are too many.
    """
    if not isinstance(value, str | LongString):
        raise InvalidInputError(field, f"must be a string of base64, got {kind_of(value)}; send the file's bytes so")
    decoded, rest = io.BytesIO(), b""
    try:
        for number, piece in enumerate(_pieces(value)):
            if number:
                await asyncio.sleep(0)
            body = piece[match.end() :] if not number and (match := DATA_URL.match(piece)) else piece
            characters = rest + body.translate(USUAL, WHITE_SPACE)
            # The last characters wait: they may be the end, with its padding.
            whole = max(0, len(characters) - 1) // 4 * 4
            _decode(characters[:whole], decoded, field)
            rest = characters[whole:]
        last = rest.rstrip(b"=")
        if rest and not last:
            raise ValueError("padding alone")
        _decode(last + b"=" * (-len(last) % 4), decoded, field, padded=True)
    except ValueError:
        raise InvalidInputError(
            field, "must be base64 (RFC 4648) or a data URL of it, got a string that is not; encode it so"
        ) from None
    return decoded.getvalue()


def _decode(characters: bytes, decoded: io.BytesIO, field: str, padded: bool = False) -> None:
    if not padded and b"=" in characters:
        raise ValueError("padding before the end")
    decoded.write(binascii.a2b_base64(characters, strict_mode=True))
    if decoded.tell() > MAX_BYTES:
        raise TooLargeError(field, f"must have at most {MAX_BYTES:,} bytes, got more; send a smaller image")


def _pieces(value: str | LongString) -> Iterator[bytes]:
    """The characters, with the escapes of JSON undone. Raises ValueError for a string that is not sound."""
    if isinstance(value, str):
        yield value.encode("ascii")
        return
    raw, begin = value.raw, 0
    while begin < len(raw):
        piece = bytes(raw[begin : begin + AT_ONCE])
        if b"\\" in piece:
            if begin + AT_ONCE < len(raw):
                piece = _without_open_escape(piece)
            begin += len(piece)
            text: str = orjson.loads(b'"%b"' % piece)
            yield text.encode("ascii")
        else:
            begin += len(piece)
            yield piece


def _without_open_escape(piece: bytes) -> bytes:
    """The piece up to a place that lies within no escape.

    A pair of backslashes may be cut: what stands for a backslash is no base64.
    """
    end = piece.rfind(b"\\", max(0, len(piece) - ESCAPE_BYTES))
    return piece if end < 0 else piece[:end]
