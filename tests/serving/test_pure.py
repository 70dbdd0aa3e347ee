"""answer, deferral, budget and telemetry: pure functions, mostly by property."""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cascade.deferral import OperatingPoint, should_defer
from serving.errors import ArtifactError, InvalidInputError
from serving.load.budget import DEFAULT_MS, MAX_MS, Budget, check_budget_ms
from serving.model.answer import answers_from_logits, softmax
from serving.timings import Timings
from tests.points import PROMISE, make_point

POINT = make_point()
logits = st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=6)


@given(logits)
def test_an_answer_is_the_largest_share(row: list[float]) -> None:
    labels = [f"label{i}" for i in range(len(row))]
    (answer,) = answers_from_logits(np.array([row], dtype=np.float32), labels)
    assert sum(answer.scores) == pytest.approx(1.0)
    assert answer.confidence == max(answer.scores)
    assert answer.scores[labels.index(answer.label)] == answer.confidence
    assert 0 <= answer.margin <= answer.confidence


def test_softmax_stays_finite_far_out() -> None:
    shares = softmax(np.array([[1e4, -1e4]], dtype=np.float32))
    assert shares.tolist() == [[1.0, 0.0]]


@given(st.floats(0, 1), st.floats(0, 1.1))
def test_a_higher_threshold_never_defers_less(confidence: float, threshold: float) -> None:
    (answer,) = answers_from_logits(np.log(np.array([[max(confidence, 1e-6), 1.0]], dtype=np.float32)), ["a", "b"])
    low, high = (POINT.model_copy(update={"threshold": t}) for t in (threshold * 0.5, threshold))
    assert should_defer(answer, high) >= should_defer(answer, low)
    assert not should_defer(answer, POINT.model_copy(update={"threshold": 0.0}))
    assert should_defer(answer, POINT.model_copy(update={"threshold": 1.1}))


def test_an_operating_point_refuses_another_pair() -> None:
    POINT.require_pair("a" * 64, "b" * 64)
    with pytest.raises(ArtifactError, match="another pair"):
        POINT.require_pair("a" * 64, "c" * 64)


@pytest.mark.parametrize(("content", "says"), [(None, "has no operating-point.json"), ("{}", "operating-point RECIPE")])
def test_a_missing_or_broken_operating_point_says_so(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "operating-point.json").write_text(content)
    with pytest.raises(ArtifactError, match=says):
        OperatingPoint.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "certified: with confidence 95% at most 1.00% of all requests"),
        ({"certified": False, "n": 100, "needed_n": 299}, "not certified: n is too small, 299 are needed (n = 100"),
        ({"certified": False, "misses": 9}, "not certified: the screen was trusted and differed .* 9 of 400"),
    ],
)
def test_a_promise_is_said_in_a_sentence(changes: dict[str, object], says: str) -> None:
    statement = PROMISE.model_copy(update=changes).statement
    assert re.match(says.replace("(", r"\("), statement)


def test_a_temperature_softens_and_keeps_the_label() -> None:
    logits = np.array([[2.0, 0.0, -1.0]], dtype=np.float32)
    (plain,), (soft,) = (answers_from_logits(logits, ["a", "b", "c"], t) for t in (1.0, 3.0))
    assert plain.label == soft.label == "a"
    assert soft.confidence < plain.confidence


@given(st.floats(0, 1e6), st.floats(1, MAX_MS), st.floats(0, 5))
def test_spent_and_left_make_the_budget(start: float, budget_ms: float, later: float) -> None:
    budget = Budget(start, budget_ms)
    now = start + later
    assert budget.left_ms(now) >= 0
    if now < budget.deadline_s:
        assert budget.left_ms(now) + budget.spent_ms(now) == pytest.approx(budget_ms)
    if now > budget.deadline_s + 1e-9:
        assert budget.left_ms(now) == 0


@pytest.mark.parametrize("value", [0, -1, 0.0, float("nan"), float("inf"), MAX_MS + 1, True, "50", [50], {}])
def test_a_bad_budget_is_refused_with_the_rule(value: object) -> None:
    with pytest.raises(InvalidInputError, match="budget_ms: must be a positive number of milliseconds"):
        check_budget_ms(value)


@pytest.mark.parametrize(("value", "means"), [(None, DEFAULT_MS), (1, 1.0), (0.5, 0.5), (MAX_MS, MAX_MS)])
def test_a_good_budget_passes(value: float | None, means: float) -> None:
    assert check_budget_ms(value) == means


def test_timings_are_parts_of_the_whole() -> None:
    timings = Timings()
    timings.end("screen")
    time.sleep(0.02)
    timings.split("hop", {"queue": 5.0, "expert": 10.0})
    timings.end("screen")
    parts = timings.as_dict()
    assert list(parts) == ["screen", "queue", "expert", "hop", "total"]
    assert parts["hop"] >= 5
    assert parts["total"] >= 20
    assert sum(value for name, value in parts.items() if name != "total") == pytest.approx(parts["total"], abs=0.01)
    assert timings.spent_ms("queue", "expert", "nothing") == 15
    assert timings.header().startswith("screen;dur=")
