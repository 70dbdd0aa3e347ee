"""The handlers: what they ask the cascades, and what they answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.cascade.cascade import ModelCascade, StageAnswer
from serving.cascade.served import Served
from serving.errors import StageDownError
from serving.expert.call import Asked
from serving.http.api import METHODS, api_endpoints
from serving.http.classifying import Classifying
from serving.http.guard import Guard
from serving.http.preparing import DIRECT_UNITS
from serving.http.schemas import ClassificationAnswer, ClassificationAnswers, LabelSetAnswer
from serving.load.admission import Admission
from serving.load.budget import DEFAULT_MS, Budget
from serving.load.heavy import PLACES
from serving.load.memory import MemoryLimit
from serving.model.head import SOFTMAX, Sigmoid
from serving.model.preprocess import StageItems
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.points import make_point
from tests.serving.asgi import asked, get, post, routed
from tests.serving.conftest import sample
from tests.serving.model.test_image import encoded, noise

SURE, UNSURE, LONG = "sure", "unsure", "long"
MEMORY_BYTES = 100_000_000
DIRECT_WORK = DIRECT_UNITS["text"]
PNG = {"content-type": "image/png"}


def screen(items: Sequence[Array]) -> Logits:
    """Sure of the label a where an item is 1, undecided where it is 0."""
    return np.array([[9.0 * item[0], 0.0] for item in items], dtype=np.float32)


async def nobody(_items: Sequence[Array], _deadline_s: float, _trace: object, asked: Asked) -> Any:
    asked.sent = True
    raise StageDownError("no expert in this test")


def both(value: float, *, truncated: bool = False) -> StageItems:
    """The same item for both stages."""
    return StageItems(np.array([value]), np.array([value]), truncated)


def modality(
    kind: str = "text",
    prepare: Callable[[Any], Any] | None = None,
    *,
    pairs: bool = False,
    name: str = "",
    **cascade: Any,
) -> Any:
    """A cascade that is real, and whose models are functions of this file."""
    tag = name or kind

    def prepared(content: Any) -> StageItems:
        return both(0.0 if content == UNSURE else 1.0, truncated=content == LONG)

    async def describe() -> dict[str, Any]:
        return {"screen": {"tag": f"{tag}-screen:1"}}

    parts: dict[str, Any] = {"labels": ("a", "b"), "screen": screen, "expert": nobody, "point": make_point()}
    return SimpleNamespace(
        cascade=ModelCascade(**{**parts, **cascade}),
        prepare=prepare or prepared,
        preparing_bytes=lambda _content: 0,
        screen_tag=f"{tag}-screen:1",
        expert_tag=f"{tag}-expert:1",
        digests={"screen": "aa", "expert": "bb"},
        name=name or f"my-{kind}",
        version="v1",
        kind=kind,
        pairs=pairs,
        describe=describe,
        auditor=None,
    )


class Spy:
    """Stands in for a cascade: keeps what it is asked."""

    labels = ("a", "b")
    screen_head = SOFTMAX

    def __init__(self) -> None:
        self.budgets: list[Budget] = []
        self.counts: list[int] = []

    async def classify(
        self, items: Sequence[Array], expert_items: Sequence[Array], budget: Budget, *_: object, **__: object
    ) -> list[StageAnswer]:
        assert len(items) == len(expert_items)
        self.budgets.append(budget)
        self.counts.append(len(items))
        answer: Any = SimpleNamespace(label="a", confidence=1.0, scores=(1.0, 0.0))
        return [StageAnswer(answer=answer, stage="screen", escalated=False, degraded=None) for _ in items]


@pytest.fixture
def serve(metrics: Metrics) -> Callable[..., Any]:
    """Makes an application that serves these cascades, whatever their keywords."""

    def app(**cascades: Any) -> Any:
        guard = Guard(Observer(metrics), Admission())
        classifying = Classifying(guard.turns, MemoryLimit(MEMORY_BYTES))
        return routed(METHODS, api_endpoints(Served(cascades.values()), guard, metrics, classifying))

    return app


def test_every_address_has_an_endpoint(metrics: Metrics) -> None:
    guard = Guard(Observer(metrics), Admission())
    assert set(api_endpoints(Served(), guard, metrics, Classifying(guard.turns, MemoryLimit(0)))) == set(METHODS)


def test_a_trusted_text_has_the_screens_answer(serve: Callable[..., Any]) -> None:
    body = post(serve(text=modality()), "/classify_text", json={"text": SURE}).json()
    ClassificationAnswer.model_validate(body)
    assert (body["label"], body["stage"], body["escalated"], body["degraded"]) == ("a", "screen", False, None)
    assert body["scores"] == {"a": body["confidence"], "b": pytest.approx(1 - body["confidence"])}
    assert body["models"] == {"screen": "text-screen:1", "expert": "text-expert:1"}
    assert list(body["timings_ms"]) == ["admission", "read", "tokenise", "screen", "encode", "total"]


def test_an_answer_says_why_the_expert_is_not_in_it(serve: Callable[..., Any]) -> None:
    body = post(serve(text=modality()), "/classify_text", json={"text": UNSURE}).json()
    assert (body["stage"], body["escalated"], body["degraded"]) == ("screen", True, "down")


def test_an_answer_says_whether_the_whole_text_was_read(serve: Callable[..., Any]) -> None:
    app = serve(text=modality())
    said = [post(app, "/classify_text", json={"text": text}).json()["truncated"] for text in (SURE, LONG)]
    assert said == [False, True]
    answers = post(app, "/classify_texts", json={"texts": [LONG, "", SURE, LONG]}).json()["answers"]
    assert [answer.get("truncated") for answer in answers] == [True, None, False, True]
    assert 'sieve_truncated_total{modality="text"} 3.0' in get(app, "/metrics").text


def test_a_bad_text_has_its_error_in_its_place_and_the_cascade_does_not_see_it(serve: Callable[..., Any]) -> None:
    kind, spy = modality(), Spy()
    kind.cascade = spy
    body = post(serve(text=kind), "/classify_texts", json={"texts": ["x", "", "y", 5]}).json()
    ClassificationAnswers.model_validate(body)
    fields = [answer.get("error", {}).get("field") for answer in body["answers"]]
    assert fields == [None, "texts[1]", None, "texts[3]"]
    assert spy.counts == [2]


def test_a_text_on_which_both_models_fail_has_its_error_in_its_place(
    serve: Callable[..., Any], logged: list[logging.LogRecord], metrics: Metrics
) -> None:
    def fails_on_one(items: Sequence[Array]) -> Any:
        return np.array([[np.nan, np.nan] if item[0] == 1 else [9.0, 0.0] for item in items], dtype=np.float32)

    def prepare(text: str) -> StageItems:
        return both(float(text == "bad"))

    app = serve(text=modality(prepare=prepare, screen=fails_on_one))
    body = post(app, "/classify_texts", json={"texts": ["good", "bad", "good"]}).json()
    ClassificationAnswers.model_validate(body)
    assert [answer.get("label") for answer in body["answers"]] == ["a", None, "a"]
    assert body["answers"][1]["error"]["field"] == "texts[1]"
    assert "got one on which both failed" in body["answers"][1]["error"]["message"]
    reply = post(app, "/classify_text", json={"text": "bad"}, headers={"X-Request-Id": "one"})
    assert (reply.status_code, reply.json()["error"]["field"]) == (500, "text")
    assert [record.getMessage() for record in logged] == [
        f"request {body['request_id']}: both models failed on texts[1]",
        "request one: both models failed on text",
    ]
    metrics.flush()
    labels = {"outcome": "failed", "stage": "screen", "model": "text-screen:1"}
    assert sample("sieve_requests_total", endpoint="/classify_texts", **labels) == 1
    assert sample("sieve_requests_total", endpoint="/classify_text", **labels) == 1


def test_a_list_of_bad_texts_is_answered_without_the_cascade(serve: Callable[..., Any]) -> None:
    kind, spy = modality(), Spy()
    kind.cascade = spy
    reply = post(serve(text=kind), "/classify_texts", json={"texts": ["", " "]})
    assert reply.status_code == 200
    assert all("error" in answer for answer in reply.json()["answers"])
    assert spy.counts == []


@pytest.mark.parametrize(
    ("in_body", "in_header", "applies"),
    [(None, None, DEFAULT_MS), (30, None, 30), (None, "20", 20), (30, "20", 20), (10, "20", 10), (None, "900", 900)],
)
def test_the_smaller_of_two_budgets_applies(
    serve: Callable[..., Any], in_body: float | None, in_header: str | None, applies: float
) -> None:
    kind, spy = modality(), Spy()
    kind.cascade = spy
    headers = {"X-Budget-Ms": in_header} if in_header else {}
    reply = post(serve(text=kind), "/classify_text", json={"text": SURE, "budget_ms": in_body}, headers=headers)
    assert reply.status_code == 200
    assert spy.budgets[0].budget_ms == applies


@pytest.mark.parametrize("sent", ["soon", "0", "-1", "nan"])
def test_a_budget_in_a_header_is_checked_too(serve: Callable[..., Any], sent: str) -> None:
    reply = post(serve(text=modality()), "/classify_text", json={"text": SURE}, headers={"X-Budget-Ms": sent})
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, "X-Budget-Ms")


def test_an_image_is_prepared_from_its_header_and_answered(serve: Callable[..., Any]) -> None:
    seen = []

    def prepare(image: Any) -> StageItems:
        seen.append((image.format, image.size))
        return both(1.0)

    app = serve(image=modality("image", prepare))
    body = post(app, "/classify_image", content=encoded(noise(8, 6)), headers=PNG).json()
    ClassificationAnswer.model_validate(body)
    assert seen == [("PNG", (8, 6))]
    assert list(body["timings_ms"]) == ["admission", "read", "decode", "screen", "encode", "total"]


def test_a_kind_of_input_that_is_not_served_is_told_with_the_argument(serve: Callable[..., Any]) -> None:
    app = serve(text=modality())
    reply = post(app, "/classify_image", content=encoded(noise(8, 8)), headers=PNG)
    assert reply.status_code == 404
    assert "without an image cascade; start it with --arg image=NAME" in reply.json()["error"]["message"]
    reply = post(serve(), "/classify_text", json={"text": SURE})
    assert "without a text cascade; start it with --arg text=NAME" in reply.json()["error"]["message"]


def test_long_work_goes_to_threads_and_only_so_much_of_it_at_once(serve: Callable[..., Any]) -> None:
    lock, threads, at_once, most = threading.Lock(), [], 0, 0

    def prepare(text: str) -> StageItems:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            threads.append((len(text) <= DIRECT_WORK, threading.current_thread() is threading.main_thread()))
        time.sleep(0.01)
        with lock:
            at_once -= 1
        return both(1.0)

    app = serve(text=modality(prepare=prepare))
    sizes = [DIRECT_WORK, *[DIRECT_WORK + 1] * 8]
    asked(app, *(("POST", "/classify_text", {"json": {"text": "x" * size, "budget_ms": 1000}}) for size in sizes))
    assert sorted(threads) == [(False, False)] * 8 + [(True, True)]
    assert most <= PLACES + 1, "with the short one beside them"


def test_models_are_described_by_kind(serve: Callable[..., Any]) -> None:
    body = get(serve(text=modality(), image=modality("image")), "/models").json()
    assert body.pop("request_id")
    assert body == {"text": {"screen": {"tag": "text-screen:1"}}, "image": {"screen": {"tag": "image-screen:1"}}}


def test_requests_are_counted_by_address(serve: Callable[..., Any]) -> None:
    app = serve(text=modality())
    post(app, "/classify_text", json={})
    text = get(app, "/metrics").text
    assert 'sieve_requests_total{endpoint="/classify_text",model="none",outcome="invalid",stage="none"} 1.0' in text
    assert set(get(app, "/docs.json").json()["paths"]) >= set(METHODS)


def test_a_cascade_of_label_sets_answers_with_labels(serve: Callable[..., Any]) -> None:
    def logits(items: Sequence[Array]) -> Logits:
        return np.array([[9.0 * item[0] - 4.0, 3.0 * item[0] - 9.0] for item in items], dtype=np.float32)

    app = serve(text=modality(screen=logits, screen_head=Sigmoid((1.0, -7.0)), expert_head=Sigmoid((0.0, 0.0))))
    LabelSetAnswer.model_validate(body := post(app, "/classify_text", json={"text": SURE}).json())
    assert "label" not in body
    assert (body["labels"], body["stage"]) == (["a", "b"], "screen")
    assert body["confidence"] == pytest.approx(1 / (1 + np.exp(-1))), "of b, a logit of 1 from its threshold"
    assert body["scores"] == pytest.approx({"a": 1 / (1 + np.exp(-5)), "b": 1 / (1 + np.exp(6))})
    answers = post(app, "/classify_texts", json={"texts": [UNSURE, " "]}).json()["answers"]
    assert (answers[0]["labels"], "error" in answers[1]) == ([], True)
