"""What users bring: images of every format, called by any name, base64 of any kind, and the longest texts."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from tests.server import PATIENT_MS, in_full
from tests.service.test_api import digit, expect_error
from tests.serving.model.test_image import encoded, noise
from tests.serving.model.test_image_header import frames
from tests.serving.model.test_png import METADATA, beside

FILES = {kind: encoded(noise(8, 8), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")}
FILES |= {"a camera's two pictures": frames("MPO"), "two pages": frames("TIFF"), "2 MB of text": beside(METADATA[0])}


@pytest.mark.parametrize("said", ["image/jpg", "image/pjpeg", "image/x-anything", "application/octet-stream"])
@pytest.mark.parametrize("kind", FILES)
def test_every_image_is_read_whatever_the_client_calls_it(client: httpx.Client, kind: str, said: str) -> None:
    url = f"/classify_image?budget_ms={PATIENT_MS}"
    for sent in (
        {"content": FILES[kind], "headers": {"content-type": said}},
        {"files": {"image": ("x", FILES[kind], said)}},
    ):
        reply = client.post(url, **sent)
        assert reply.status_code == 200, reply.text


def test_an_image_may_come_in_json_as_base64(client: httpx.Client) -> None:
    form = {"budget_ms": str(PATIENT_MS)}
    plain = in_full(client, "/classify_image", files={"image": digit(0)}, data=form).json()
    body = {"image": base64.b64encode(digit(0)).decode(), "budget_ms": PATIENT_MS}
    reply = in_full(client, "/classify_image", json=body)
    assert reply.status_code == 200
    assert reply.json()["scores"] == plain["scores"]
    body["budget_ms"] = -1
    expect_error(client.post("/classify_image", json=body), 422, "budget_ms", "positive")


@pytest.mark.parametrize(
    "written",
    [
        lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
        lambda data: "data:image/png;base64," + base64.b64encode(data).decode(),
        lambda data: base64.urlsafe_b64encode(data).decode().rstrip("="),
    ],
    ids=["lines", "data URL", "url-safe"],
)
@pytest.mark.parametrize("side", [8, 300])
def test_base64_is_read_as_it_is_written(client: httpx.Client, written: Callable[[bytes], str], side: int) -> None:
    body = {"image": written(encoded(noise(side, side))), "budget_ms": PATIENT_MS}
    assert client.post("/classify_image", json=body).status_code == 200


def test_a_list_of_the_longest_texts_is_answered(client: httpx.Client) -> None:
    data = json.dumps({"texts": ["я" * 20_000] * 64, "budget_ms": PATIENT_MS})
    assert len(data) > 7_680_000
    reply = client.post("/classify_texts", content=data)
    # A slow machine may find that the answer would be late; the body is no reason to refuse it.
    assert reply.status_code in (200, 503), reply.text
    too_long = json.dumps({"texts": ["x" * 500_000, "short"], "budget_ms": PATIENT_MS})
    reply = client.post("/classify_texts", content=too_long)
    assert reply.json()["answers"][0]["error"]["message"].startswith(
        "texts[0]: must have at most 20,000 characters, got"
    )
    assert "label" in reply.json()["answers"][1]
    expect_error(client.post("/classify_text", json={"text": "x" * 500_000}), 422, "text", "at most 20,000 characters")


def test_an_animation_stays_refused(client: httpx.Client) -> None:
    for kind in ("GIF", "WEBP", "PNG"):
        reply = client.post("/classify_image", content=frames(kind), headers={"content-type": "image/gif"})
        expect_error(reply, 422, "image", "must be a still image, got an animation")


def test_a_format_that_is_not_named_is_refused_by_its_name(client: httpx.Client) -> None:
    file = encoded(Image.new("RGB", (8, 8)), "AVIF")
    reply = client.post("/classify_image", content=file, headers={"content-type": "image/avif"})
    expect_error(reply, 422, "image", "bytes of AVIF, which this service does not read; convert it first")
