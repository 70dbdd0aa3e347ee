"""Bodies become values, within limits of bytes and seconds."""

from __future__ import annotations

import asyncio
import base64
import encodings
import json
import tempfile
from collections.abc import Coroutine
from typing import Any

import pytest

from serving.errors import InvalidInputError, MalformedError, TooLargeError, TooSlowError
from serving.http import body, intake
from serving.http.body import as_number, image_and_budget, json_object, not_too_long, required
from tests.serving.asgi import body_of, piece
from tests.serving.http.turns import counted

FORM = {"content-type": "multipart/form-data; boundary=x"}
JSON = {"content-type": "application/json"}
PNG = {"content-type": "image/png"}


def run(reading: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(reading)


def part(name: str, value: bytes, more: str = "") -> bytes:
    return b'--x\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n' % (name.encode(), more.encode(), value)


def test_a_body_that_comes_in_pieces_is_one_object() -> None:
    request = body_of(piece(b'{"text": ', more=True), piece(b'"a"}'))
    assert run(json_object(request, {"text"})) == {"text": "a"}


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"\xff", MalformedError, "body: must be UTF-8"),
        (b"{", MalformedError, "body: must be JSON"),
        (b"[]", MalformedError, "must be a JSON object, got a list; send budget_ms, text"),
        (b'{"text": "a", "colour": 1}', InvalidInputError, "may have the keys budget_ms, text, got 'colour' too"),
    ],
)
def test_what_is_no_such_object_is_refused(data: bytes, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        run(json_object(body_of(piece(data)), {"text", "budget_ms"}))


def test_an_unknown_key_is_named_only_in_part() -> None:
    with pytest.raises(InvalidInputError) as caught:
        run(json_object(body_of(piece(b'{"%b": 1}' % (b"k" * 1000))), {"text"}))
    assert "k" * 40 in str(caught.value)
    assert "k" * 41 not in str(caught.value)


def test_a_body_that_states_too_many_bytes_is_not_read() -> None:
    asked = []

    async def receive() -> Any:
        asked.append("a piece")  # a client that waits for `100 Continue` would send its body now
        return piece(b"x", more=True)

    request = body_of(headers={"content-length": "11"})
    request.request._receive = receive
    with pytest.raises(TooLargeError, match="body: must have at most 10 bytes"):
        run(json_object(request, {"text"}, limit=10))
    assert asked == []


def test_a_body_that_grows_beyond_its_limit_is_given_up_at_once() -> None:
    request = body_of(piece(b"x" * 6, more=True), piece(b"x" * 6, more=True))
    with pytest.raises(TooLargeError, match="body: must have at most 10 bytes"):
        run(json_object(request, {"text"}, limit=10))


def test_a_body_that_stops_arriving_is_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "READ_LIMIT_S", 0.05)
    with pytest.raises(TooSlowError, match="body: must arrive within"):
        run(json_object(body_of(piece(b"{", more=True)), {"text"}))
    with pytest.raises(TooSlowError, match="image: must arrive within"):
        run(image_and_budget(body_of(piece(b"--x\r\n", more=True), headers=FORM)))


def test_a_field_that_is_required_is_there() -> None:
    assert required({"text": None}, "text") is None
    with pytest.raises(InvalidInputError, match="text: must be there"):
        required({"budget_ms": 5}, "text")


def test_an_image_is_the_body() -> None:
    request = body_of(piece(b"png"), headers={"content-type": "IMAGE/PNG; x=y"})
    assert run(image_and_budget(request)) == (b"png", None)


def test_an_image_is_a_file_of_a_form_and_its_budget_is_a_field() -> None:
    file = part("image", b"png", '; filename="a.png"')
    with_budget = file + part("budget_ms", b"20") + b"--x--\r\n"
    assert run(image_and_budget(body_of(piece(with_budget), headers=FORM))) == (b"png", 20.0)
    assert run(image_and_budget(body_of(piece(file + b"--x--\r\n"), headers=FORM))) == (b"png", None)


def test_a_large_file_of_a_form_is_not_written_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", None)
    image = bytes(body.MAX_BYTES)
    data = part("image", image, '; filename="a.png"') + b"--x--\r\n"
    pieces = [piece(data[start : start + 65_536], more=True) for start in range(0, len(data), 65_536)]
    assert run(image_and_budget(body_of(*pieces, piece(b""), headers=FORM))) == (image, None)


def test_an_image_is_base64_in_an_object_and_its_budget_is_a_field() -> None:
    data = b'{"image": "%b", "budget_ms": 9}' % base64.b64encode(b"png")
    assert run(image_and_budget(body_of(piece(data), headers=JSON))) == (b"png", 9)


FILE, END = part("image", b"png", '; filename="a.png"'), b"--x--\r\n"


@pytest.mark.parametrize(
    "kind",
    ["image/jpg", "image/pjpeg", "image/x-png", "image/webp", "image/*", "application/octet-stream", "Image/TIFF; a=b"],
)
def test_an_image_is_the_body_whatever_kind_of_image_the_client_calls_it(kind: str) -> None:
    assert run(image_and_budget(body_of(piece(b"png"), headers={"content-type": kind}))) == (b"png", None)


def test_a_large_image_in_json_is_read() -> None:
    image = bytes(range(256)) * 2_000
    data = b'{"budget_ms": 9, "image": "%b"}' % base64.encodebytes(image).replace(b"\n", b"\\r\\n")
    assert run(image_and_budget(body_of(piece(data), headers=JSON))) == (image, 9)


@pytest.mark.parametrize("character", ["я", "\U0001f600"])
def test_64_texts_of_20_000_escaped_characters_are_read(character: str) -> None:
    """What the limits of texts allow, the limit of bytes allows: 15.4 MB of surrogate pairs, or 7.7 MB of Cyrillic."""
    texts = [character * 20_000] * 64
    data = json.dumps({"texts": texts}).encode()
    assert len(data) > 7_680_000
    assert run(json_object(body_of(piece(data)), {"texts"})) == {"texts": texts}


@pytest.mark.parametrize("characters", [500, 1_000, 10_000])
def test_64_pairs_of_texts_are_read(characters: int) -> None:
    value = {name: ["x" * characters] * 64 for name in ("texts", "text_pairs")}
    assert run(json_object(body_of(piece(json.dumps(value).encode())), {*value})) == value


@pytest.mark.parametrize("end", [b"", b"\xff", "я".encode()[:1]], ids=["utf-8", "a wrong byte", "half a character"])
def test_others_have_turns_while_a_large_body_that_is_no_json_is_looked_at(end: bytes) -> None:
    data = b'"%b' % ("я" * 5_000_000).encode() + end

    async def refused() -> str:
        with pytest.raises(MalformedError) as caught:
            await json_object(body_of(piece(data)), {"text"})
        return str(caught.value)

    message, turns, longest_s = counted(refused)
    assert ("must be UTF-8" in message) == bool(end)
    assert turns >= len(data) // body.SMALL_BYTES
    assert longest_s < 0.01


def test_a_large_body_keeps_the_rules_of_a_small_one() -> None:
    filler = b"x" * 100_000
    for data, error, says in (
        (b'{"text": "%b"' % filler, MalformedError, "body: must be JSON"),
        (b'{"text": "%b\xff"}' % filler, MalformedError, "body: must be UTF-8"),
        (b'["%b"]' % filler, MalformedError, "must be a JSON object, got a list"),
        (b'{"text": "a", "%b": 1}' % filler, InvalidInputError, "got 'x{40}' too"),
        (
            b'{"text": [%b1]}' % (b"[]," * 50_000),
            InvalidInputError,
            "body: must be JSON of 1 to 64 texts or of an image",
        ),
        (b'{"text": "%b"}' % filler, InvalidInputError, "text: must have at most 20,000 characters, got more"),
    ):
        with pytest.raises(error, match=says):
            not_too_long(run(json_object(body_of(piece(data)), {"text"}))["text"], "text")


@pytest.mark.parametrize(
    ("data", "headers", "says"),
    [
        (b"", {}, "image: must come as .*got no content type"),
        (b"", {"content-type": "text/plain"}, "got another content type"),
        (part("image", b"png") + END, FORM, "image: must be a file of the form, got a text field"),
        (END, FORM, "image: must be a file of the form, got no such field"),
        (part("photo", b"x") + END, FORM, "form: may have the keys"),
        (FILE + FILE + END, FORM, "image: must be in the form once, got it 2 times; send each image in a request"),
        (FILE + part("image", b"x") + END, FORM, "image: must be in the form once, got it 2 times"),
        (FILE + part("budget_ms", b"5") * 2 + END, FORM, "budget_ms: must be in the form once, got it 2 times"),
        (FILE + part("budget_ms", b"5", '; filename="b"') + END, FORM, "budget_ms: must be .*, got a file"),
        (FILE * 9 + END, FORM, "body: must be a multipart form with one file named image, got .*Too many files"),
        (b"no form", FORM, "body: must be a multipart form with one file named image, got one that is broken"),
        (b'{"image": 5}', JSON, "image: must be a string of base64, got a number"),
        (b'{"image": "?"}', JSON, "image: must be base64"),
        (b'{"image": "%b"}' % (b"A" * 13_333_340), JSON, "image: must have at most 10,000,000 bytes"),
    ],
)
def test_what_is_no_image_is_refused(data: bytes, headers: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        run(image_and_budget(body_of(piece(data), headers=headers)))


def test_a_number_may_come_as_text() -> None:
    assert as_number(None) is None
    assert as_number("12.5") == 12.5
    with pytest.raises(InvalidInputError, match="X-Budget-Ms: must be a positive number"):
        as_number("fast", "X-Budget-Ms")


@pytest.mark.parametrize("text", ["1_0", "５", "٣", "nan", "inf", "1e", "0x10", "1 0", "", "+", "."])  # noqa: RUF001
def test_what_only_python_calls_a_number_is_none(text: str) -> None:
    with pytest.raises(InvalidInputError, match="must be a positive number"):
        as_number(text)
    assert as_number(" 1.5e+2\n") == 150


@pytest.mark.parametrize("charset", ["undefined", "punycode", "idna", "utf-7", "no-such-codec", "base64", '"utf-16"'])
def test_a_form_is_read_in_utf8_whatever_charset_it_states(charset: str) -> None:
    """`undefined` raises what the form's parser does not expect; `punycode` takes a second for 160 KB."""
    headers = {"content-type": f"multipart/form-data; charset={charset}; boundary=x"}
    whole = FILE + part("budget_ms", b"20") + END
    assert run(image_and_budget(body_of(piece(whole), headers=headers))) == (b"png", 20.0)
    long = part("budget_ms", "ñ".encode() * 500_000) + FILE + END
    with pytest.raises(InvalidInputError, match="budget_ms: must be a positive number"):
        run(image_and_budget(body_of(piece(long), headers=headers)))
    assert "no_such_codec" not in encodings._cache


@pytest.mark.parametrize("boundary", ["x", '"x"', '"a b"', r'"a\"b"', r'"a\\b"', "='()+_,-./:?"])
def test_a_form_may_have_any_boundary(boundary: str) -> None:
    bare = boundary[1:-1].replace("\\\\", "\\").replace('\\"', '"') if boundary[0] == '"' else boundary
    data = (FILE + END).replace(b"--x", b"--" + bare.encode())
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    assert run(image_and_budget(body_of(piece(data), headers=headers))) == (b"png", None)
