"""The cascade of a request, wherever it is stated, and which one answers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from serving.cascade.served import Served
from serving.errors import InvalidInputError
from serving.http.api import METHODS, api_endpoints
from serving.http.classifying import Classifying
from serving.http.guard import Guard
from serving.http.stated_model import model_of
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.serving.asgi import get, post, request_of, routed
from tests.serving.conftest import sample
from tests.serving.http.test_api import MEMORY_BYTES, PNG, SURE, both, modality
from tests.serving.model.test_image import encoded, noise

TWO = (modality(name="a"), modality(name="b"), modality("image", name="c"))


def app(metrics: Metrics, *cascades: Any) -> Any:
    """An application that serves these cascades."""
    guard = Guard(Observer(metrics), Admission())
    classifying = Classifying(guard.turns, MemoryLimit(MEMORY_BYTES))
    return routed(METHODS, api_endpoints(Served(cascades), guard, metrics, classifying))


@pytest.mark.parametrize(
    ("in_body", "query", "name"),
    [
        (None, "", None),
        (None, "budget_ms=5", None),
        ("a", "", "a"),
        (None, "model=a", "a"),
        ("a", "budget_ms=5&model=a", "a"),
        (None, "model=a&model=a", "a"),
    ],
)
def test_a_name_may_be_in_the_body_or_in_the_query(in_body: object, query: str, name: str | None) -> None:
    assert model_of(request_of(query=query), in_body) == name


@pytest.mark.parametrize(
    ("in_body", "query", "says"),
    [
        (5, "", "must be the name of a cascade, got a number; send one, or leave it out"),
        (["a"], "model=a", "must be the name of a cascade, got a list"),
        ("a", "model=b", "must be one name, in the body and in the query the same, got 2; leave out all but one"),
        (None, "model=a&model=b", "must be one name"),
    ],
)
def test_what_is_no_name_and_two_names_are_refused(in_body: object, query: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^model: {says}") as caught:
        model_of(request_of(query=query), in_body)
    assert caught.value.field == "model"


@pytest.mark.parametrize(
    ("in_body", "query", "tag"),
    [({}, "", "a"), ({"model": "b"}, "", "b"), ({"model": None}, "", "a"), ({}, "?model=b", "b")],
    ids=["none", "body", "null", "query"],
)
def test_the_cascade_of_this_name_answers_texts(
    metrics: Metrics, in_body: dict[str, Any], query: str, tag: str
) -> None:
    there = app(metrics, *TWO)
    one = post(there, f"/classify_text{query}", json={"text": SURE, **in_body}).json()
    (of_many,) = post(there, f"/classify_texts{query}", json={"texts": [SURE], **in_body}).json()["answers"]
    assert one["models"] == of_many["models"] == {"screen": f"{tag}-screen:1", "expert": f"{tag}-expert:1"}


def test_the_cascade_of_this_name_answers_images(metrics: Metrics) -> None:
    cascades = [modality("image", lambda _: both(1.0), name=name) for name in ("x", "y")]
    there = app(metrics, *cascades)
    sent = {"content": encoded(noise(8, 6)), "headers": PNG}
    tags = [post(there, f"/classify_image{query}", **sent).json()["models"]["screen"] for query in ("", "?model=y")]
    assert tags == ["x-screen:1", "y-screen:1"]


@pytest.mark.parametrize(
    ("path", "sent", "says"),
    [
        ("/classify_text", {"json": {"text": "x", "model": "c"}}, "no cascade for texts .*; use one of these: a, b"),
        ("/classify_texts?model=d", {"json": {"texts": ["x"]}}, "no cascade for texts .*; use one of these: a, b"),
        ("/classify_image?model=a", {"content": b"", "headers": PNG}, "no cascade for images .*; use one of these: c"),
    ],
    ids=["text", "texts", "image"],
)
def test_a_name_that_no_cascade_has_is_told_those_that_there_are(
    metrics: Metrics, path: str, sent: dict[str, Any], says: str
) -> None:
    reply = post(app(metrics, *TWO), path, **sent)
    assert reply.status_code == 404
    assert re.match(says, reply.json()["error"]["message"]), reply.text


def test_each_cascade_has_a_form_of_its_own(metrics: Metrics) -> None:
    there = app(metrics, modality(name="a"), modality(name="b", pairs=True))
    pair = {"text": SURE, "text_pair": SURE}
    assert post(there, "/classify_text", json={**pair, "model": "b"}).status_code == 200
    reply = post(there, "/classify_text", json=pair)
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, "text_pair")


def test_models_has_the_first_of_each_kind_and_the_others(metrics: Metrics) -> None:
    body = get(app(metrics, *TWO), "/models").json()
    assert set(body) == {"text", "image", "others", "request_id"}
    tags = [described["screen"]["tag"] for described in (body["text"], body["image"], *body["others"])]
    assert tags == ["a-screen:1", "c-screen:1", "b-screen:1"]


def test_requests_are_counted_by_the_model_that_answered(metrics: Metrics) -> None:
    there = app(metrics, *TWO)
    for name in ("a", "b", "b"):
        post(there, "/classify_text", json={"text": SURE, "model": name})
    metrics.flush()
    labels = {"endpoint": "/classify_text", "outcome": "ok", "stage": "screen"}
    assert [sample("sieve_requests_total", **labels, model=f"{name}-screen:1") for name in "ab"] == [1, 2]
