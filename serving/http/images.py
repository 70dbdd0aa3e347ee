"""What requests about several images hold: the files of a form, or a list of base64."""

from __future__ import annotations

from starlette.datastructures import UploadFile

from serving.errors import InvalidInputError, TooLargeError, WrongTypeError, kind_of
from serving.http.base64_image import image_of
from serving.http.body import (
    MAX_BASE64_BYTES,
    MAX_PARTS,
    as_number,
    json_object,
    kind_of_body,
    no_others,
    only_one,
    read_form,
    required,
)
from serving.http.intake import Body
from serving.model.image_header import MAX_BYTES

MAX_IMAGES = 16


async def images_and_budget(body: Body) -> tuple[list[bytes | InvalidInputError], object]:
    """The bytes of 1 to MAX_IMAGES files, or what is wrong with one, and the unchecked budget if the body has one.

    The images are the files of a form that are named images, or a list of base64 in a JSON object. Together they have
    no more bytes than one image may have. Raises TooLargeError if they have.
    """
    kind = kind_of_body(body)
    stated: object
    if kind == "multipart/form-data":
        parts = MAX_IMAGES + MAX_PARTS
        form = await body.in_time(read_form(body, "images", f"1 to {MAX_IMAGES} files named images", parts), "images")
        try:
            no_others(set(form), {"images", "budget_ms"}, "form")
            sent, stated = form.getlist("images"), as_number(only_one(form, "budget_ms"))
            _require_count(len(sent), "so many files named images")
            images = [await _read(upload, f"images[{place}]") for place, upload in enumerate(sent)]
        finally:
            await form.close()
    elif kind == "application/json":
        value = await json_object(body, {"images", "budget_ms"}, MAX_BASE64_BYTES)
        listed, stated = required(value, "images"), value.get("budget_ms")
        if not isinstance(listed, list):
            raise InvalidInputError("images", f"must be a list, got {kind_of(listed)}; send strings of base64 in one")
        _require_count(len(listed), "a list of so many")
        images = [await _decoded(each, f"images[{place}]") for place, each in enumerate(listed)]
    else:
        raise WrongTypeError(
            "images",
            "must come as multipart/form-data with files named images, or in JSON as a list of base64, "
            f"got {'another content type' if kind else 'no content type'}; set the Content-Type header",
        )
    if sum(len(each) for each in images if isinstance(each, bytes)) > MAX_BYTES:
        raise TooLargeError(
            "images", f"must have at most {MAX_BYTES:,} bytes in all files together, got more; send fewer at a time"
        )
    return images, stated


def _require_count(count: int, what: str) -> None:
    if not 1 <= count <= MAX_IMAGES:
        raise InvalidInputError("images", f"must be 1 to {MAX_IMAGES} images, got {what}: {count}; send fewer or more")


async def _read(upload: UploadFile | str, field: str) -> bytes | InvalidInputError:
    if isinstance(upload, UploadFile):
        return await upload.read()
    return InvalidInputError(field, "must be a file of the form, got a text field; send a file named images")


async def _decoded(value: object, field: str) -> bytes | InvalidInputError:
    try:
        return await image_of(value, field)
    except InvalidInputError as error:
        return error
