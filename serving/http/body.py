"""What a body holds: a JSON object, a form or an image."""

from __future__ import annotations

import asyncio
import codecs
import re
from collections.abc import Mapping

import orjson
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serving.errors import InvalidInputError, MalformedError, TooLargeError, WrongTypeError, kind_of
from serving.http.base64_image import image_of
from serving.http.intake import Body
from serving.http.large_json import CHARACTER_BYTES, SMALL_BYTES, LongString, parsed
from serving.model.image_header import MAX_BYTES
from serving.model.text import MAX_CHARACTERS

MAX_TEXTS = 64
# Each may be a pair, whose characters count together.
MAX_STRINGS = 2 * MAX_TEXTS
# The texts that a request may have, however their characters are escaped, and room for the JSON around them.
MAX_JSON_BYTES = MAX_TEXTS * MAX_CHARACTERS * CHARACTER_BYTES + 65_536
# More parts than a form may have, so that the error can say what is wrong with them.
MAX_PARTS = 8
MAX_UPLOAD_BYTES = MAX_BYTES + 65_536
# An image in base64, and room for line ends and escapes: PHP writes a backslash before each slash.
MAX_BASE64_BYTES = (MAX_BYTES + 2) // 3 * 4 * 9 // 8 + 65_536
# How often the bytes of a body are in memory at a time: pieces, the whole, and what is made of it.
JSON_COPIES = FORM_COPIES = 3
NUMBER = re.compile(r"\s*[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?\s*", re.IGNORECASE | re.ASCII)
NOTHING: Mapping[str, str] = {}


async def json_object(
    body: Body, allowed: set[str], limit: int = MAX_JSON_BYTES, misplaced: Mapping[str, str] = NOTHING
) -> dict[str, object]:
    """The body as a JSON object with no keys but those `allowed`, of at most `limit` bytes.

    A string of a large body that no text may be as long as is a LongString. Raises MalformedError if it is no such
    object, InvalidInputError if it has other keys or is too long. `misplaced` are keys with an error of their own.
    """
    value = await any_object(body, allowed, limit)
    no_others(set(value), allowed, "body", misplaced)
    return value


async def any_object(body: Body, expected: set[str], limit: int = MAX_JSON_BYTES) -> dict[str, object]:
    """The same with any keys; an error names those `expected`."""
    value = await json_value(await body.whole(limit, "body", JSON_COPIES))
    if not isinstance(value, dict):
        raise MalformedError("body", f"must be a JSON object, got {kind_of(value)}; send {', '.join(sorted(expected))}")
    return value


async def json_value(data: bytes, depth: int = 1) -> object:
    """What a JSON document holds; a long string in at most `depth` lists or objects may be a LongString.

    Raises MalformedError if it is no JSON, TooLargeError if there is too much in it.
    """
    try:
        if len(data) <= SMALL_BYTES:
            return orjson.loads(data)
        return await parsed(data, MAX_CHARACTERS, MAX_STRINGS, depth)
    except orjson.JSONDecodeError as error:
        if not await _is_utf8(data):
            raise MalformedError("body", "must be UTF-8, got bytes that are not; encode the JSON as UTF-8") from None
        raise MalformedError("body", f"must be JSON, got something else ({error}); send a JSON object") from None
    except ValueError as error:
        raise TooLargeError(
            "body", f"must be JSON of 1 to {MAX_TEXTS} texts or of an image, got {error}; send fewer texts"
        ) from None


async def _is_utf8(data: bytes) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for begin in range(0, len(data), SMALL_BYTES):
            if begin:
                await asyncio.sleep(0)
            decoder.decode(memoryview(data)[begin : begin + SMALL_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def required(body: Mapping[str, object], field: str) -> object:
    """The value of `field`. Raises InvalidInputError if the body does not have it."""
    if field not in body:
        raise InvalidInputError(field, f"must be there, got an object without it; send {field}")
    return body[field]


def not_too_long(value: object, field: str) -> object:
    """The value, if it is not a string that is too long for any text. Raises InvalidInputError otherwise."""
    if isinstance(value, LongString):
        raise InvalidInputError(
            field, f"must have at most {MAX_CHARACTERS:,} characters, got more; send a shorter text"
        )
    return value


def kind_of_body(body: Body) -> str:
    """The content type of a body, without what follows it."""
    return body.request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def image_and_budget(body: Body) -> tuple[bytes, object]:
    """The bytes of an image file, and the unchecked budget if the body has one, else None.

    The image is a file of a form, the whole body, or base64 in a JSON object. The budget is a field of the form or of
    the object.
    """
    kind = kind_of_body(body)
    if kind == "multipart/form-data":
        form = await body.in_time(read_form(body, "image", "one file named image", MAX_PARTS), "image")
        try:
            no_others(set(form), {"image", "budget_ms"}, "form")
            return await _file_of(form), as_number(only_one(form, "budget_ms"))
        finally:
            await form.close()
    if kind.startswith("image/") or kind == "application/octet-stream":
        # What a client calls it is often wrong (image/jpg); what counts are the bytes.
        return await body.whole(MAX_BYTES, "image"), None
    if kind == "application/json":
        value = await json_object(body, {"image", "budget_ms"}, MAX_BASE64_BYTES)
        return await image_of(required(value, "image")), value.get("budget_ms")
    raise WrongTypeError(
        "image",
        "must come as multipart/form-data with a file named image, as a body of type image/… or "
        "application/octet-stream, or in JSON as base64, "
        f"got {'another content type' if kind else 'no content type'}; set the Content-Type header",
    )


class _InMemory(MultiPartParser):
    """Starlette's own parser writes files of more than a megabyte to the disk, which in a container is small."""

    spool_max_size = MAX_UPLOAD_BYTES


async def read_form(body: Body, field: str, rule: str, parts: int) -> FormData:
    """A form of at most so many files and so many fields. An error names the `field`, and says what the form holds."""
    stream = body.pieces(MAX_UPLOAD_BYTES, MAX_BYTES, field, FORM_COPIES)
    headers = _in_utf8(body.request.headers["content-type"])
    try:
        return await _InMemory(headers, stream, max_files=parts, max_fields=parts).parse()
    except MultiPartException as error:
        raise MalformedError(
            "body",
            f"must be a multipart form with {rule}, got one that is broken ({error.message}); let an HTTP client make "
            "it",
        ) from None


def _in_utf8(content_type: str) -> Headers:
    """The header of a form without a charset, which no browser sends (RFC 7578, 5.1.2).

    Python has codecs whose time grows with the square of the length, and it keeps each unknown name that it is asked
    for.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    stated = b"" if boundary is None else b'; boundary="%b"' % boundary.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return Headers(raw=[(b"content-type", b"multipart/form-data" + stated)])


async def _file_of(form: FormData) -> bytes:
    upload = only_one(form, "image")
    if not isinstance(upload, UploadFile):
        got = "a text field" if isinstance(upload, str) else "no such field, or a form that was cut off"
        raise InvalidInputError("image", f"must be a file of the form, got {got}; send one named image")
    return await upload.read(MAX_BYTES + 1)


def only_one(form: FormData, name: str) -> UploadFile | str | None:
    """The one field of this name, None without any."""
    fields = form.getlist(name)
    if len(fields) > 1:
        raise InvalidInputError(
            name, f"must be in the form once, got it {len(fields)} times; send each image in a request of its own"
        )
    return fields[0] if fields else None


def no_others(got: set[str], allowed: set[str], where: str, misplaced: Mapping[str, str] = NOTHING) -> None:
    """Raise InvalidInputError if `got` has keys that are not `allowed`.

    `where`: the field that the error names. A key that is `misplaced` gets the sentence given with it.
    """
    others = got - allowed
    if others:
        for key in sorted(others & misplaced.keys()):
            raise InvalidInputError(key, misplaced[key])
        named = ", ".join(repr(key[:40]) for key in sorted(others)[:3])
        raise InvalidInputError(
            where, f"may have the keys {', '.join(sorted(allowed))}, got {named} too; leave out what is none of them"
        )


def as_number(stated: str | UploadFile | None, field: str = "budget_ms") -> float | None:
    """The number in a text or form field, None for None. Raises InvalidInputError if it is no number."""
    if stated is None:
        return None
    # float() takes 1_0 and the digits of all alphabets, too.
    if isinstance(stated, str) and NUMBER.fullmatch(stated):
        return float(stated)
    got = "text that is no number" if isinstance(stated, str) else "a file"
    raise InvalidInputError(field, f"must be a positive number of milliseconds, got {got}; send digits")
