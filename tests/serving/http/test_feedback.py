"""Feedback over HTTP: what a client sends, and what it gets back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving.cascade.served import Served
from serving.http.api import METHODS, api_endpoints
from serving.http.classifying import Classifying
from serving.http.feedback import LabelTold
from serving.http.guard import Guard
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.model.head import Sigmoid
from serving.watch.answered import AnsweredMemory
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.serving.asgi import get, post, routed
from tests.serving.conftest import sample
from tests.serving.http.test_api import UNSURE, modality

MINE = {"X-Request-Id": "mine"}


@pytest.fixture
def serve(metrics: Metrics, tmp_path: Path) -> Callable[..., Any]:
    """A function that makes an application which remembers its answers, with these parts of a cascade."""

    def made(*, remembers: bool = True, **parts: Any) -> Any:
        memory = AnsweredMemory(tmp_path, 100) if remembers else None
        guard = Guard(Observer(metrics, memory=memory), Admission(16))
        classifying = Classifying(guard.turns, MemoryLimit(100_000_000))
        served = Served([modality(**parts)])
        return routed(METHODS, api_endpoints(served, guard, metrics, classifying, memory=memory))

    return made


def test_an_answer_is_told_right_or_wrong_and_counted(serve: Callable[..., Any], metrics: Metrics) -> None:
    app = serve()
    for number in range(3):
        post(app, "/classify_text", json={"text": "sure"}, headers={"X-Request-Id": f"r{number}"})
    right = post(app, "/feedback", json={"request_id": "r0", "label": "a"})
    wrong = post(app, "/feedback", json={"request_id": "r1", "label": "b"})
    assert right.status_code == wrong.status_code == 200
    assert right.json()["right"] == {"cascade": True, "screen": True, "expert": None}
    assert wrong.json()["right"] == {"cascade": False, "screen": False, "expert": None}
    LabelTold.model_validate(right.json())
    assert post(app, "/feedback", json={"request_id": "r1", "label": "b"}).json()["again"] is True
    metrics.flush()
    for stage, count in (("cascade", 1), ("screen", 1), ("expert", 0)):
        for answer in ("yes", "no"):
            assert sample("sieve_feedback_total", modality="text", stage=stage, right=answer) == count
    feedback = get(app, "/models").json()["text"]["feedback"]
    assert (feedback["cascade"]["right"], feedback["cascade"]["n"]) == (1, 2)
    low, high = feedback["cascade"]["interval"]
    assert low < 0.5 < high
    assert feedback["by_label"]["b"]["screen"]["accuracy"] == 0
    assert feedback["expert"] is None


def test_items_of_a_list_are_told_one_by_one(serve: Callable[..., Any]) -> None:
    app = serve()
    answers = post(app, "/classify_texts", json={"texts": ["sure", "", UNSURE]}, headers=MINE).json()["answers"]
    assert "error" in answers[1]
    assert (
        post(app, "/feedback", json={"request_id": "mine", "item": 2, "label": "b"}).json()["right"]["cascade"] is False
    )
    assert post(app, "/feedback", json={"request_id": "mine", "item": 1, "label": "a"}).status_code == 404
    assert post(app, "/feedback", json={"request_id": "mine", "label": "a"}).json()["right"]["cascade"] is True


def test_label_sets_are_told_as_lists(serve: Callable[..., Any]) -> None:
    app = serve(screen_head=Sigmoid((0.0, 1.0)), expert_head=Sigmoid((0.0, 1.0)))
    post(app, "/classify_text", json={"text": "sure"}, headers=MINE)
    wrong = post(app, "/feedback", json={"request_id": "mine", "label": "a"})
    assert (wrong.status_code, wrong.json()["error"]["field"]) == (422, "labels")
    assert post(app, "/feedback", json={"request_id": "mine", "labels": ["a"]}).json()["right"]["cascade"] is True


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"request_id": "unknown", "label": "a"}, 404, "item 0 of this request is not remembered"),
        ({"request_id": "mine", "label": "c"}, 422, "use these: a, b"),
        ({"request_id": "mine"}, 422, "label: must be there, or else labels, got both or neither"),
        ({"request_id": "mine", "label": "a", "labels": ["a"]}, 422, "got both or neither"),
        ({"request_id": "mine", "label": 7}, 422, "label: must be a string, got a number"),
        ({"request_id": "mine", "labels": ["a", 7]}, 422, "labels: must be a list of strings"),
        ({"label": "a"}, 422, "request_id: must be there"),
        ({"request_id": 7, "label": "a"}, 422, "request_id: must be the request_id of an answer, got another number"),
        ({"request_id": "no spaces", "label": "a"}, 422, "got another string"),
        ({"request_id": "mine", "label": "a", "item": 64}, 422, "item: must be the place in the list"),
        ({"request_id": "mine", "label": "a", "item": True}, 422, "got another boolean"),
        ({"request_id": "mine", "label": "a", "text": "sure"}, 422, "text"),
        (["mine"], 400, "must be a JSON object"),
    ],
)
def test_what_cannot_be_taken_says_why(serve: Callable[..., Any], body: Any, status: int, says: str) -> None:
    app = serve()
    post(app, "/classify_text", json={"text": "sure"}, headers=MINE)
    answer = post(app, "/feedback", json=body)
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]


def test_another_label_for_the_same_answer_is_refused(serve: Callable[..., Any]) -> None:
    app = serve()
    post(app, "/classify_text", json={"text": "sure"}, headers=MINE)
    post(app, "/feedback", json={"request_id": "mine", "label": "a"})
    again = post(app, "/feedback", json={"request_id": "mine", "label": "b"})
    assert again.status_code == 409
    assert "send each item's label once" in again.json()["error"]["message"]


def test_a_service_without_a_memory_says_how_to_get_one(serve: Callable[..., Any]) -> None:
    app = serve(remembers=False)
    answer = post(app, "/feedback", json={"request_id": "mine", "label": "a"})
    assert answer.status_code == 404
    assert "setting feedback_memory" in answer.json()["error"]["message"]
    assert "feedback" not in get(app, "/models").json()["text"]
