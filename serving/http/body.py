"""What a body holds: a JSON object, a form or an image."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
from collections.abc import Mapping

import orjson
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from serving.errors import InvalidInputError, MalformedError, TooLargeError, WrongTypeError, kind_of
from serving.http.intake import Body
from serving.model.image_header import MAX_BYTES

MAX_TEXTS = 64
# MAX_TEXTS texts of 20,000 characters of up to 4 bytes each, and room for the JSON around them.
MAX_JSON_BYTES = MAX_TEXTS * 20_000 * 4 + 65_536
# More parts than a form may have, so that the error can say what is wrong with them.
MAX_PARTS = 8
MAX_UPLOAD_BYTES = MAX_BYTES + 65_536
MAX_BASE64 = (MAX_BYTES + 2) // 3 * 4
# Characters that are decoded in about half a millisecond; a multiple of 4.
BASE64_AT_ONCE = 262_144
# How often the bytes of a body are in memory at a time: pieces, the whole, and what is made of it.
JSON_COPIES = FORM_COPIES = 3


async def json_object(body: Body, allowed: set[str], limit: int = MAX_JSON_BYTES) -> dict[str, object]:
    """The body as a JSON object with no keys but those `allowed`, of at most `limit` bytes.

    Raises MalformedError if it is no such object, InvalidInputError if it has other keys or is too long.
    """
    data = await body.whole(limit, "body", JSON_COPIES)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if not _is_utf8(data):
            raise MalformedError("body", "must be UTF-8, got bytes that are not; encode the JSON as UTF-8") from None
        raise MalformedError("body", f"must be JSON, got something else ({error}); send a JSON object") from None
    if not isinstance(value, dict):
        raise MalformedError("body", f"must be a JSON object, got {kind_of(value)}; send {', '.join(sorted(allowed))}")
    no_others(set(value), allowed, "body")
    return value


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def required(body: Mapping[str, object], field: str) -> object:
    """The value of `field`. Raises InvalidInputError if the body does not have it."""
    if field not in body:
        raise InvalidInputError(field, f"must be there, got an object without it; send {field}")
    return body[field]


async def image_and_budget(body: Body) -> tuple[bytes, object]:
    """The bytes of an image file, and the unchecked budget if the body has one, else None.

    The image is a file of a form, the whole body, or base64 in a JSON object. The budget is a field of the form or of
    the object.
    """
    kind = body.request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        form = await body.in_time(_form(body), "image")
        try:
            no_others(set(form), {"image", "budget_ms"}, "form")
            return await _image_of(form), as_number(_only(form, "budget_ms"))
        finally:
            await form.close()
    if kind.startswith("image/") or kind == "application/octet-stream":
        # What a client calls it is often wrong (image/jpg); what counts are the bytes.
        return await body.whole(MAX_BYTES, "image"), None
    if kind == "application/json":
        value = await json_object(body, {"image", "budget_ms"}, MAX_BASE64 + 65_536)
        return await _from_base64(required(value, "image")), value.get("budget_ms")
    raise WrongTypeError(
        "image",
        "must come as multipart/form-data with a file named image, as a body of type image/… or "
        "application/octet-stream, or in JSON as base64, "
        f"got {'another content type' if kind else 'no content type'}; set the Content-Type header",
    )


class _InMemory(MultiPartParser):
    """Starlette's own parser writes files of more than a megabyte to the disk, which in a container is small."""

    spool_max_size = MAX_UPLOAD_BYTES


async def _form(body: Body) -> FormData:
    stream = body.pieces(MAX_UPLOAD_BYTES, MAX_BYTES, "image", FORM_COPIES)
    try:
        return await _InMemory(body.request.headers, stream, max_files=MAX_PARTS, max_fields=MAX_PARTS).parse()
    except MultiPartException as error:
        raise MalformedError(
            "body",
            "must be a multipart form with one file named image, "
            f"got one that is broken ({error.message}); let an HTTP client make it",
        ) from None


async def _from_base64(value: object) -> bytes:
    """The bytes, decoded piece by piece, so that other requests are seen in between."""
    if not isinstance(value, str):
        raise InvalidInputError("image", f"must be a string of base64, got {kind_of(value)}; send the file's bytes so")
    if len(value) > MAX_BASE64:
        raise TooLargeError("image", f"must have at most {MAX_BYTES:,} bytes, got more; send a smaller image")
    try:
        decoded = io.BytesIO(base64.b64decode(value[:BASE64_AT_ONCE], validate=True))
        decoded.seek(0, io.SEEK_END)
        for start in range(BASE64_AT_ONCE, len(value), BASE64_AT_ONCE):
            if value[start - 1] == "=":
                raise ValueError("padding before the end")
            await asyncio.sleep(0)
            decoded.write(base64.b64decode(value[start : start + BASE64_AT_ONCE], validate=True))
        return decoded.getvalue()
    except ValueError:
        raise InvalidInputError("image", "must be base64 (RFC 4648), got a string that is not; encode it so") from None


async def _image_of(form: FormData) -> bytes:
    upload = _only(form, "image")
    if not isinstance(upload, UploadFile):
        got = "a text field" if isinstance(upload, str) else "no such field, or a form that was cut off"
        raise InvalidInputError("image", f"must be a file of the form, got {got}; send one named image")
    return await upload.read(MAX_BYTES + 1)


def _only(form: FormData, name: str) -> UploadFile | str | None:
    """The one field of this name, None without any."""
    fields = form.getlist(name)
    if len(fields) > 1:
        raise InvalidInputError(
            name, f"must be in the form once, got it {len(fields)} times; send each image in a request of its own"
        )
    return fields[0] if fields else None


def no_others(got: set[str], allowed: set[str], where: str) -> None:
    """Raise InvalidInputError if `got` has keys that are not `allowed`; `where`: the field that the error names."""
    others = got - allowed
    if others:
        named = ", ".join(repr(key[:40]) for key in sorted(others)[:3])
        raise InvalidInputError(
            where, f"may have the keys {', '.join(sorted(allowed))}, got {named} too; leave out what is none of them"
        )


def as_number(stated: str | UploadFile | None, field: str = "budget_ms") -> float | None:
    """The number in a text or form field, None for None. Raises InvalidInputError if it is no number."""
    if stated is None:
        return None
    if isinstance(stated, str):
        with contextlib.suppress(ValueError):
            return float(stated)
    got = "text that is no number" if isinstance(stated, str) else "a file"
    raise InvalidInputError(field, f"must be a positive number of milliseconds, got {got}; send digits")
