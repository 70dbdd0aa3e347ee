"""Requests with several images become their bytes, or what is wrong with each."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from serving.errors import InvalidInputError, MalformedError, TooLargeError, WrongTypeError
from serving.http.images import MAX_IMAGES, images_and_budget
from serving.model.image_header import MAX_BYTES
from tests.serving.asgi import body_of, piece
from tests.serving.http.test_body import FILE, FORM, JSON, PNG, part, run

FILES_PART = part("images", b"a", '; filename="a"')


def images_form(*parts: bytes) -> Any:
    return body_of(piece(b"".join(parts) + b"--x--\r\n"), headers=FORM)


def images_json(*images: str, more: str = "") -> Any:
    return body_of(piece(f'{{"images": [{", ".join(images)}]{more}}}'.encode()), headers=JSON)


def test_images_are_the_files_of_a_form_or_a_list_of_base64() -> None:
    files = [part("images", data, '; filename="a.png"') for data in (b"one", b"", b"two")]
    assert run(images_and_budget(images_form(*files, part("budget_ms", b"20")))) == ([b"one", b"", b"two"], 20.0)
    encoded = [f'"{base64.b64encode(data).decode()}"' for data in (b"one", b"two")]
    assert run(images_and_budget(images_json(*encoded, more=', "budget_ms": 9'))) == ([b"one", b"two"], 9)


def test_an_image_that_cannot_be_read_has_its_error_in_its_place() -> None:
    sound = '"b25l"'
    images, _ = run(images_and_budget(images_json(sound, "5", '"#"', sound)))
    assert (images[0], images[3]) == (b"one", b"one")
    assert [str(images[place])[:32] for place in (1, 2)] == [
        "images[1]: must be a string of b",
        "images[2]: must be base64 (RFC 4",
    ]
    (_, text), _ = run(images_and_budget(images_form(FILES_PART, part("images", b"two"))))
    assert str(text).startswith("images[1]: must be a file of the form, got a text field")


@pytest.mark.parametrize("count", [0, MAX_IMAGES + 1])
def test_there_are_as_many_images_as_a_request_may_have(count: int) -> None:
    for sent in (images_json(*['""'] * count), images_form(*[FILES_PART] * count)):
        with pytest.raises(
            InvalidInputError, match=rf"images: must be 1 to {MAX_IMAGES} images, got .*: {count}; send"
        ):
            run(images_and_budget(sent))
    assert run(images_and_budget(images_form(*[FILES_PART] * MAX_IMAGES))) == ([b"a"] * MAX_IMAGES, None)


@pytest.mark.parametrize(
    ("sent", "error", "says"),
    [
        (body_of(piece(b"png"), headers=PNG), WrongTypeError, "images: must come as multipart/form-data with files na"),
        (images_form(FILE), InvalidInputError, "form: may have the keys budget_ms, images, got 'image' too"),
        (
            body_of(piece(b'{"images": "b25l"}'), headers=JSON),
            InvalidInputError,
            "images: must be a list, got a string",
        ),
        (images_form(*[FILES_PART] * 40), MalformedError, "1 to 16 files named images, got one that is broken"),
    ],
    ids=["body", "another name", "no list", "forty"],
)
def test_images_that_come_in_another_way_are_refused(sent: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        run(images_and_budget(sent))


def test_all_images_together_have_no_more_bytes_than_one_may_have() -> None:
    half = '"' + base64.b64encode(bytes(MAX_BYTES // 2 + 1)).decode() + '"'
    with pytest.raises(TooLargeError, match="images: must have at most 10,000,000 bytes in all files together"):
        run(images_and_budget(images_json(half, half)))
    assert len(run(images_and_budget(images_json(half)))[0][0]) == MAX_BYTES // 2 + 1
