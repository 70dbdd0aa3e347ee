"""Values that break other services: deep JSON, odd text, budgets that are no numbers, images that lie."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.server import PATIENT_MS, in_full
from tests.serving.model.test_image import encoded, enormous, noise, png
from tests.serving.model.test_image_header import LONG, tiff
from tests.serving.model.test_png import METADATA, beside

TEXT, TEXTS, INFER = "/classify_text", "/classify_texts", "/v2/models/text/infer"
IMAGE, IMAGES = "/classify_image", "/classify_images"
JSON = {"Content-Type": "application/json"}
DEEP = 10_000


def message_of(reply: httpx.Response) -> str:
    error = reply.json()["error"]
    return str(error if isinstance(error, str) else error["message"])


@pytest.mark.parametrize("path", [TEXT, TEXTS, IMAGE, IMAGES, INFER])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'{"text":' * DEEP + b"1" + b"}" * DEEP,
        b'{"text": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"text": "' + b"x" * 100_000 + b'", "budget_ms": ' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"text": NaN}',
        b'{"text": "\\ud800"}',
        b'{"text": "\xed\xa0\x80"}',
        b'{"text": "\0"}',
        b"\xef\xbb\xbf{}",
        b"",
        b"null",
        b"{} {}",
        b"{'text': 'a'}",
    ],
    ids=[
        "open",
        "lists",
        "objects",
        "in a text",
        "in a large body",
        "NaN",
        "half",
        "half in utf-8",
        "control character",
        "byte order mark",
        "empty",
        "null",
        "two",
        "python's",
    ],
)
def test_what_is_no_json_of_ours_is_400(client: httpx.Client, path: str, body: bytes) -> None:
    reply = client.post(path, content=body, headers=JSON)
    assert reply.status_code == 400
    assert "must be" in message_of(reply)
    assert len(message_of(reply)) < 300, "the text of a user is not printed"


@pytest.mark.parametrize(
    "text",
    [
        "where is my refund\0",
        "\u202eأين أموالي\u202c",
        "e" + "\u0301" * 19_999,
        "👩‍👩‍👧‍👦" * 1_000,
        "\ufeffwhere is my refund",
        "\u0000\u0001\u0002a",
        "x" * 20_000,
        "a " * 10_000,
        "[CLS] [SEP] [MASK] [PAD] [UNK]",
        "\U0010ffff",
        "\ufffe\uffff a",
    ],
    ids=[
        "NUL",
        "right to left",
        "combining",
        "families",
        "byte order mark",
        "control",
        "long",
        "words",
        "special",
        "last",
        "none",
    ],
)
def test_odd_texts_are_answered(client: httpx.Client, text: str) -> None:
    """By both addresses alike; a text of a list does not depend on the others."""
    one = in_full(client, TEXT, json={"text": text, "budget_ms": PATIENT_MS})
    assert one.status_code == 200
    many = in_full(client, TEXTS, json={"texts": [text], "budget_ms": PATIENT_MS})
    assert many.json()["answers"][0]["scores"] == pytest.approx(one.json()["scores"], abs=1e-4)


@pytest.mark.parametrize("text", ["", " ", "\n\t\u00a0\u2003", "\u3000"], ids=ascii)
def test_what_cannot_be_seen_is_no_text(client: httpx.Client, text: str) -> None:
    assert client.post(TEXT, json={"text": text}).status_code == 422


def test_of_a_key_that_comes_twice_the_last_value_counts(client: httpx.Client) -> None:
    """As JavaScript and Python read it; what is not looked at has no say."""
    twice = b'{"text": 5, "text": "where is my refund", "budget_ms": -1, "budget_ms": %d}' % PATIENT_MS
    assert in_full(client, TEXT, content=twice).status_code == 200
    assert client.post(TEXT, content=b'{"text": "where is my refund", "text": 5}').status_code == 422


BUDGETS = ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "0", "-0.0", "1001", "1e400", '"50"', "[]", "{}", "true"]
BUDGETS += ["9" * 400, "-" + "9" * 400, "1e-400"]


@pytest.mark.parametrize("budget", BUDGETS, ids=lambda value: value[:12])
def test_a_budget_that_is_none_is_refused_wherever_it_stands(client: httpx.Client, budget: str) -> None:
    in_body = client.post(TEXT, content=b'{"text": "a", "budget_ms": %b}' % budget.encode())
    assert in_body.status_code in (400, 422), "NaN is no JSON"
    tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
    asked = json.dumps({"inputs": [tensor], "parameters": {"budget_ms": 0.5}}).replace("0.5", budget)
    if budget != '"50"':  # a parameter may be a string
        assert client.post(INFER, content=asked).status_code == 400
        bare = budget.strip('"')
        assert client.post(TEXT, json={"text": "a"}, headers={"X-Budget-Ms": bare}).status_code == 422
        assert client.post(TEXT, json={"text": "a"}, params={"budget_ms": bare}).status_code == 422
        form = {"files": {"image": encoded(noise(8, 8))}, "data": {"budget_ms": bare}}
        assert client.post(IMAGE, **form).status_code == 422


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "", "image"])
def test_an_image_needs_a_type_and_a_text_does_not(client: httpx.Client, kind: str) -> None:
    """curl says that JSON is a form."""
    assert client.post(IMAGE, content=encoded(noise(8, 8)), headers={"Content-Type": kind}).status_code == 415
    sent = {"content": b'{"text": "where is my refund", "budget_ms": 1000}', "headers": {"Content-Type": kind}}
    assert in_full(client, TEXT, **sent).status_code == 200


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=x; charset=undefined",
        "multipart/form-data; charset=punycode; boundary=x",
        "multipart/form-data; boundary=" + "x" * 60000,
    ],
    ids=lambda kind: kind[:60],
)
def test_a_form_of_any_kind_is_read_or_refused(client: httpx.Client, kind: str) -> None:
    field = b'--x\r\nContent-Disposition: form-data; name="\xff"\r\n\r\n' + b"\xff" * 900_000 + b"\r\n--x--\r\n"
    reply = client.post(IMAGE, content=field, headers={"Content-Type": kind})
    assert reply.status_code in (400, 422)


def lying_png(width: int, height: int) -> bytes:
    """A PNG of 8 x 8 pixels whose header says otherwise, with the right checksum."""
    whole = bytearray(encoded(noise(8, 8)))
    whole[16:24] = struct.pack(">II", width, height)
    whole[29:33] = struct.pack(">I", zlib.crc32(whole[12:29]))
    return bytes(whole)


def gif_bomb() -> bytes:
    """A GIF whose screen is 65,535 x 65,535."""
    whole = bytearray(encoded(noise(8, 8), "GIF"))
    whole[6:10] = b"\xff" * 4
    return bytes(whole)


BAD_IMAGES = {
    "png of 900 megapixels": enormous(),
    "png of few rows": png(6_000, 6, zlib.compress(bytes(2_000_000), 9)),
    "png of more than it holds": lying_png(6_000, 6_000),
    "png of no pixels": lying_png(0, 8),
    "png of a strip": lying_png(1, 2**31 - 1),
    "gif bomb": gif_bomb(),
    "tiff bomb": tiff({256: (LONG, 2**31 - 1), 257: (LONG, 2**31 - 1)}),
    "tiff that points at itself": tiff({})[:4] + b"\x08\0\0\0" + tiff({})[8:-204] + b"\x08\0\0\0" + bytes(200),
    "two bytes": b"\xff\xd8",
    "html": b"<html><script>alert(1)</script>",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(/tmp/x) (w) file",
    "animation": encoded(noise(8, 8), "GIF", save_all=True, append_images=[noise(9, 9)]),
}


@pytest.mark.parametrize("name", BAD_IMAGES)
@pytest.mark.parametrize("way", ["body", "form", "base64", "tensor"])
def test_an_image_that_lies_is_refused(client: httpx.Client, name: str, way: str) -> None:
    path, sent = sent_as(way, BAD_IMAGES[name])
    reply = client.post(path, **sent)
    if name == "tiff that points at itself" and reply.status_code == 200:
        return  # its first page is a picture
    # To decode 36 megapixels may take longer than the budget.
    assert reply.status_code in (400 if way == "tensor" else 422, 503), reply.text
    assert reply.status_code == 503 or "must" in message_of(reply)


def sent_as(way: str, data: bytes) -> tuple[str, dict[str, Any]]:
    """The address and the request that bring an image in this way."""
    in_base64 = base64.b64encode(data).decode()
    if way == "body":
        return IMAGE, {"content": data, "headers": {"Content-Type": "image/png"}}
    if way == "form":
        return IMAGE, {"files": {"image": data}}
    if way == "base64":
        return IMAGE, {"json": {"image": in_base64}}
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [in_base64]}
    return "/v2/models/image/infer", {"json": {"inputs": [tensor]}}


def rotated() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(noise(20, 30), "JPEG", exif=exif)


GOOD_IMAGES = {
    "cmyk": encoded(noise(8, 8).convert("CMYK"), "JPEG"),
    "palette": encoded(noise(8, 8).convert("P")),
    "16 bit": encoded(Image.fromarray(np.arange(1024, dtype=np.uint16).reshape(32, 32) * 64)),
    "rotated": rotated(),
    "one pixel": encoded(noise(1, 1)),
    "black and white": encoded(noise(8, 8).convert("1")),
    "transparent": encoded(noise(8, 8).convert("RGBA")),
    "grey with transparency": encoded(noise(8, 8).convert("LA")),
    **{f"metadata {place}": beside(each) for place, each in enumerate(METADATA)},
}


@pytest.mark.parametrize("name", GOOD_IMAGES)
def test_an_unusual_image_is_answered(client: httpx.Client, name: str) -> None:
    sent = {"content": GOOD_IMAGES[name], "headers": {"Content-Type": "image/png"}}
    reply = in_full(client, f"{IMAGE}?budget_ms={PATIENT_MS}", **sent)
    assert reply.status_code == 200, reply.text
