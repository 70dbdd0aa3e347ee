from __future__ import annotations

import re
from typing import Any

import pytest

from serving.cascade.served import Served
from serving.errors import InvalidInputError
from serving.http.api import METHODS, api_endpoints
from serving.http.classifying import Classifying
from serving.http.guard import Guard
from serving.http.large_json import LongString
from serving.http.texts import PAIRS, SINGLE
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.model.preprocess import StageItems
from serving.model.text import MAX_CHARACTERS, TextPair
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.serving.asgi import get, post, routed
from tests.serving.http.test_api import MEMORY_BYTES, both, modality


def test_each_form_gives_what_the_encoders_take() -> None:
    assert SINGLE.one({"text": "a"}) == "a"
    assert PAIRS.one({"text": "a", "text_pair": "b"}) == TextPair("a", "b")
    assert SINGLE.many({"texts": ["a", "b"]}).good == {0: "a", 1: "b"}
    pairs = PAIRS.many({"texts": ["a", "b"], "text_pairs": ["c", "d"]})
    assert pairs.good == {0: TextPair("a", "c"), 1: TextPair("b", "d")}


def test_the_characters_of_both_texts_count() -> None:
    assert SINGLE.characters(["ab", "c"]) == 3
    assert PAIRS.characters([TextPair("ab", "c"), TextPair("d", "ef")]) == 6


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({}, "text", "must be there"),
        ({"text": "a"}, "text_pair", "must be there, .* got an object without it; send text and text_pair"),
        ({"text": "a", "text_pair": None}, "text_pair", "must be a string, got null"),
        ({"text": "a", "text_pair": " "}, "text_pair", "must not be empty, got a string of white space"),
        ({"text": "a", "text_pair": LongString(memoryview(b"x"))}, "text_pair", "at most 20,000 characters, got more"),
        ({"text": "a" * MAX_CHARACTERS, "text_pair": "b"}, "text_pair", "20,000 characters together with text"),
    ],
)
def test_a_pair_that_breaks_a_rule_is_refused(body: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field}: .*{says}") as error:
        PAIRS.one(body)
    assert error.value.field == field


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"texts": ["a"]}, "text_pairs", "must be there, .*send texts and text_pairs"),
        ({"texts": "a", "text_pairs": ["b"]}, "texts", "must be a list of 1 to 64 strings, got a string"),
        ({"texts": ["a"], "text_pairs": "b"}, "text_pairs", "must be a list of 1 to 64 strings, got a string"),
        ({"texts": ["a"] * 65, "text_pairs": ["b"] * 65}, "texts", "got a list of 65"),
        ({"texts": ["a", "b"], "text_pairs": ["c"]}, "text_pairs", "must be as many as texts, 2, got 1"),
    ],
)
def test_a_list_of_pairs_that_breaks_a_rule_is_refused(body: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field}: .*{says}"):
        PAIRS.many(body)


def test_a_bad_pair_has_its_error_in_its_place() -> None:
    texts = ["a", "", "c", "d"]
    good, entries = PAIRS.many({"texts": texts, "text_pairs": ["a", "b", 5, "d" * MAX_CHARACTERS]})
    assert good == {0: TextPair("a", "a")}
    said = [entry.get("error", {}).get("message") for entry in entries]
    assert said[0] is None
    assert [message.partition(",")[0] for message in said[1:]] == [
        "texts[1]: must not be empty",
        "text_pairs[2]: must be a string",
        "text_pairs[3]: must have at most 20",
    ]
    assert "together with texts[3]" in said[3]


def test_a_bad_text_has_its_error_in_its_place() -> None:
    good, entries = SINGLE.many({"texts": ["a", 5]})
    assert good == {0: "a"}
    assert [set(entry) for entry in entries] == [set(), {"error"}]
    with pytest.raises(InvalidInputError, match=r"^texts: must be a list of 1 to 64 strings, got a list of 0"):
        SINGLE.many({"texts": []})


def served(metrics: Metrics, **of_modality: Any) -> Any:
    """An application with a text cascade of functions."""
    guard = Guard(Observer(metrics), Admission())
    endpoints = api_endpoints(
        Served([modality(**of_modality)]), guard, metrics, Classifying(guard.turns, MemoryLimit(MEMORY_BYTES))
    )
    return routed(METHODS, endpoints)


def test_a_cascade_for_pairs_is_asked_about_pairs(metrics: Metrics) -> None:
    asked: list[Any] = []

    def prepared(content: Any) -> StageItems:
        asked.append(content)
        return both(1.0)

    app = served(metrics, prepare=prepared, pairs=True)
    reply = post(app, "/classify_text", json={"text": "a", "text_pair": "b", "budget_ms": 1000})
    assert reply.json()["label"] == "a", reply.text
    many = {"texts": ["a", "", "c"], "text_pairs": ["b", "b", "d"], "budget_ms": 1000}
    answers = post(app, "/classify_texts", json=many).json()["answers"]
    assert asked == [("a", "b"), ("a", "b"), ("c", "d")]
    assert [answer.get("error", {}).get("field") for answer in answers] == [None, "texts[1]", None]
    assert "ClassifyTextPair" in get(app, "/docs.json").text


@pytest.mark.parametrize(
    ("pairs", "path", "body", "field", "says"),
    [
        (True, "/classify_text", {"text": "a"}, "text_pair", "must be there, as the cascade .* is for pairs of texts"),
        (True, "/classify_texts", {"texts": ["a"]}, "text_pairs", "must be there, as the cascade .* is for pairs"),
        (False, "/classify_text", {"text": "a", "text_pair": "b"}, "text_pair", "must be left out, .*for single texts"),
        (False, "/classify_texts", {"texts": ["a"], "text_pairs": ["b"]}, "text_pairs", "must be left out, .*single"),
        (True, "/classify_text", {"text": "a", "text_pair": "b", "c": 1}, "body", "got 'c' too"),
    ],
)
def test_a_request_of_the_other_form_is_refused(
    metrics: Metrics, pairs: bool, path: str, body: dict[str, Any], field: str, says: str
) -> None:
    reply = post(served(metrics, pairs=pairs), path, json=body)
    error = reply.json()["error"]
    assert (reply.status_code, error["field"]) == (422, field)
    assert re.match(f"{field}: .*{says}", error["message"])
