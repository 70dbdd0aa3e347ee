"""Several images in one request, against the served process: each has the answer or the error that it has alone."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import pytest

from serving.http.images import MAX_IMAGES
from serving.model.image_header import MAX_BYTES
from tests.server import PATIENT_MS, in_full
from tests.service.test_api import digit
from tests.serving.model.test_image import encoded, enormous, noise

IMAGES = f"/classify_images?budget_ms={PATIENT_MS}"
SOUND, OTHER = digit(3), digit(8)
CUT_OFF = encoded(noise(64, 64), "PNG")[:-200]
"""Its head is sound, so that decoding finds out."""


def form(*files: bytes) -> dict[str, Any]:
    return {"files": [("images", (f"{place}.png", data)) for place, data in enumerate(files)]}


def in_json(*files: bytes) -> dict[str, Any]:
    return {"json": {"images": [base64.b64encode(data).decode() for data in files]}}


WAYS = {"form": form, "base64": in_json}


def answers(client: httpx.Client, way: str, *files: bytes) -> list[dict[str, Any]]:
    reply = in_full(client, IMAGES, **WAYS[way](*files))
    assert reply.status_code == 200, reply.text
    assert "decode" in reply.json()["timings_ms"]
    return list(reply.json()["answers"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("count", [1, 2, MAX_IMAGES])
def test_each_image_has_the_answer_that_it_has_alone(client: httpx.Client, way: str, count: int) -> None:
    digits = [digit(place) for place in range(count)]
    given = answers(client, way, *digits)
    for data, answer in zip(digits, given, strict=True):
        path = f"/classify_image?budget_ms={PATIENT_MS}"
        alone = in_full(client, path, content=data, headers={"Content-Type": "image/png"}).json()
        assert answer.keys() == alone.keys() - {"request_id", "timings_ms"}
        assert (answer["label"], answer["models"]) == (alone["label"], alone["models"])
        assert answer["scores"] == pytest.approx(alone["scores"], abs=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_a_bad_image_has_its_error_in_its_place(client: httpx.Client, way: str) -> None:
    given = answers(client, way, SOUND, b"", CUT_OFF, OTHER, b"no image at all", enormous(), SOUND)
    errors = {place: answer["error"] for place, answer in enumerate(given) if "error" in answer}
    assert sorted(errors) == [1, 2, 4, 5]
    for place, error in errors.items():
        assert error["field"] == f"images[{place}]"
        assert error["message"].startswith(f"images[{place}]: must ")
        assert "label" not in given[place]
    assert "damaged or truncated" in errors[2]["message"]
    assert "megapixels" in errors[5]["message"]
    assert given[0]["label"] == given[6]["label"]


def test_images_are_all_answered_with_their_errors_where_none_is_sound(client: httpx.Client) -> None:
    reply = client.post(IMAGES, **form(CUT_OFF, b""))
    assert reply.status_code == 200
    assert [answer["error"]["field"] for answer in reply.json()["answers"]] == ["images[0]", "images[1]"]


def test_a_value_that_is_no_base64_has_its_error_in_its_place(client: httpx.Client) -> None:
    sound = base64.b64encode(SOUND).decode()
    listed = [sound, 5, "%", f"data:image/png;base64,{sound}", None]
    given = in_full(client, "/classify_images", json={"images": listed, "budget_ms": PATIENT_MS}).json()["answers"]
    assert [answer.get("error", {}).get("field") for answer in given] == [
        None,
        "images[1]",
        "images[2]",
        None,
        "images[4]",
    ]


@pytest.mark.parametrize(
    ("sent", "status", "field"),
    [
        (form(*[SOUND] * (MAX_IMAGES + 1)), 422, "images"),
        ({"json": {"images": []}}, 422, "images"),
        ({"json": {"images": "aGk="}}, 422, "images"),
        ({"json": {}}, 422, "images"),
        ({"json": {"image": "aGk="}}, 422, "body"),
        ({"content": SOUND, "headers": {"Content-Type": "image/png"}}, 415, "images"),
        ({"data": {"images": "a text"}}, 415, "images"),
        (form(bytes(MAX_BYTES // 2), bytes(MAX_BYTES // 2 + 1)), 413, "images"),
        ({**form(SOUND), "data": {"budget_ms": "-1"}}, 422, "budget_ms"),
    ],
    ids=["17", "none", "one", "no list", "another name", "a body", "no form", "ten megabytes", "budget"],
)
def test_what_is_no_list_of_images_is_refused(
    client: httpx.Client, sent: dict[str, Any], status: int, field: str
) -> None:
    reply = client.post("/classify_images", **sent)
    assert (reply.status_code, reply.json()["error"]["field"]) == (status, field)


def test_large_photographs_are_decoded_in_a_thread_and_keep_nobody_waiting(client: httpx.Client) -> None:
    large = encoded(noise(900, 900), "JPEG")
    given = answers(client, "form", *[large] * 3)
    assert len({answer["label"] for answer in given}) == 1
