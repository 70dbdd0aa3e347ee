"""Requests are reported to metrics, to a tracer and to the log, each where it is wanted."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from serving.cascade.cascade import StageAnswer
from serving.model.answer import Answer
from serving.watch.observer import Observer
from serving.watch.record import RequestRecord

PARENT = f"00-{'1' * 32}-{'2' * 16}-01"
ANSWER = Answer(label="a secret label", confidence=0.9, margin=0.8, scores=(0.9, 0.1))


class Told:
    """Stands in for metrics and for a tracer: keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def ended(self, record: RequestRecord, outcome: str, *status: int) -> None:
        self.told.append((record.request_id, outcome, *status))

    def begin(self, header: str | None) -> str:
        return f"a trace under {header}"


@pytest.fixture
def metrics() -> Any:
    return Told()


def test_metrics_and_tracer_are_told_of_each_request(metrics: Any) -> None:
    tracer: Any = Told()
    observer = Observer(metrics, tracer)
    observer.ended(observer.begin("/classify_text", {}, "one"), 422)
    assert metrics.told == [("one", "invalid")]
    assert tracer.told == [("one", "invalid", 422)]


def test_a_request_has_a_trace_where_there_is_a_tracer(metrics: Any) -> None:
    tracer: Any = Told()
    assert Observer(metrics, tracer).begin("/x", {"traceparent": PARENT}, "one").trace == f"a trace under {PARENT}"
    assert Observer(metrics, tracer).begin("/x", {}, "one").trace == "a trace under None"


def test_without_a_tracer_the_log_keeps_the_trace_of_the_caller(metrics: Any) -> None:
    trace = Observer(metrics, log=io.StringIO()).begin("/x", {"traceparent": PARENT}, "one").trace
    assert trace is not None
    assert trace.trace_id == int("1" * 32, 16)
    assert Observer(metrics, log=io.StringIO()).begin("/x", {}, "one").trace is None
    assert Observer(metrics).begin("/x", {"traceparent": PARENT}, "one").trace is None


def test_a_line_of_the_log_tells_of_the_request_and_nothing_of_its_content(metrics: Any) -> None:
    log = io.StringIO()
    observer = Observer(metrics, log=log)
    record = observer.begin("/classify_texts", {"traceparent": PARENT}, "one")
    record.was_read(50.0)
    modality: Any = type(
        "Modality", (), {"screen_tag": "screen:1", "expert_tag": "expert:1", "name": "a", "kind": "text"}
    )
    answers = [
        StageAnswer(answer=ANSWER, stage="expert", escalated=True, degraded=None),
        StageAnswer(answer=ANSWER, stage="screen", escalated=True, degraded="deadline"),
        StageAnswer(answer=ANSWER, stage="screen", escalated=False, degraded=None),
    ]
    record.answered(modality, answers)
    observer.ended(record, 200)
    (line,) = log.getvalue().splitlines()
    said = json.loads(line)
    assert said.pop("time").endswith("+00:00")
    assert set(said.pop("timings_ms")) == {"read", "total"}
    assert said == {
        "request_id": "one",
        "trace_id": "1" * 32,
        "endpoint": "/classify_texts",
        "status": 200,
        "outcome": "degraded",
        "stage": "expert",
        "model": "expert:1",
        "items": 3,
        "escalated": 2,
        "degraded": "deadline",
        "budget_ms": 50.0,
    }
    assert "secret" not in line
