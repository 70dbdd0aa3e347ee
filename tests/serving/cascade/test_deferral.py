"""The rule that decides between screen and expert, and what it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cascade.deferral import LabelPromise, OperatingPoint, should_defer
from serving.errors import ArtifactError
from serving.model.answer import answers_from_logits
from serving.model.artifact import OPERATING_POINT
from tests.points import PROMISE, make_point

POINT = make_point()


@given(st.floats(0, 1), st.floats(0, 1.1))
def test_a_higher_threshold_never_defers_less(confidence: float, threshold: float) -> None:
    (answer,) = answers_from_logits(np.log(np.array([[max(confidence, 1e-6), 1.0]], dtype=np.float32)), ["a", "b"])
    low, high = (POINT.model_copy(update={"threshold": t}) for t in (threshold * 0.5, threshold))
    assert should_defer(answer, high) >= should_defer(answer, low)
    assert not should_defer(answer, POINT.model_copy(update={"threshold": 0.0}))
    assert should_defer(answer, POINT.model_copy(update={"threshold": 1.1}))


def test_an_operating_point_refuses_another_pair() -> None:
    POINT.require_pair("a" * 64, "b" * 64)
    with pytest.raises(
        ArtifactError, match=r"another pair.*publish the three of one run with .* optimize publish RECIPE"
    ):
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
        ({"certified": False, "needed_n": 10_000_000}, "not certified: n is too small, 10000000 are needed"),
        (
            {"certified": False, "needed_n": 10_000_001},
            "not certified: n is too small, more than 10,000,000 are needed",
        ),
        ({"certified": False, "misses": 9}, "not certified: the screen was trusted and differed .* 9 of 400"),
    ],
)
def test_a_promise_is_stated_in_one_sentence(changes: dict[str, object], says: str) -> None:
    statement = PROMISE.model_copy(update=changes).statement
    assert re.match(says.replace("(", r"\("), statement)


def test_a_point_of_an_earlier_version_opens_and_has_no_certified_thresholds(tmp_path: Path) -> None:
    stated = make_point(certified_thresholds=(0.8, 0.9)).model_dump(mode="json")
    (tmp_path / OPERATING_POINT).write_text(json.dumps(stated))
    assert OperatingPoint.read(tmp_path).certified_thresholds == (0.8, 0.9)
    del stated["certified_thresholds"]
    (tmp_path / OPERATING_POINT).write_text(json.dumps(stated))
    assert OperatingPoint.read(tmp_path) == make_point()


def test_a_label_may_have_a_threshold_of_its_own() -> None:
    point = make_point(threshold=0.5, label_thresholds={"b": 0.9})
    sure_a, sure_b = answers_from_logits(np.log(np.array([[0.7, 0.3], [0.3, 0.7]], dtype=np.float32)), ["a", "b"])
    assert not should_defer(sure_a, point)
    assert should_defer(sure_b, point)


def test_what_a_point_has_not_is_left_out_so_that_its_digest_is_that_of_before() -> None:
    written = POINT.model_dump(mode="json")
    assert not {"certified_thresholds", "label_thresholds", "label_promises", "certified_on"} & written.keys()
    assert OperatingPoint.model_validate(written) == POINT


LABEL_PROMISE = LabelPromise(
    label="fraud",
    kind="missed",
    missed_as="ham",
    alpha=0.02,
    delta=0.05,
    certified=True,
    n=300,
    misses=1,
    upper_bound=0.0157,
)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {},
            "certified: with confidence 95% of the items that the expert calls fraud at most 2.00% are answered as ham "
            "(n = 300, 1 misses)",
        ),
        (
            {"kind": "false", "missed_as": None},
            "certified: with confidence 95% of the items that are answered fraud the expert calls at most 2.00% "
            "otherwise (n = 300, 1 misses)",
        ),
        ({"certified": False, "n": 20, "needed_n": 149}, ": n is too small, 149 such items are needed; bring more of"),
        ({"certified": False, "needed_n": 10_000_001}, ": n is too small, more than 10,000,000 such items are needed"),
        ({"certified": False}, ": too many are; allow more escalation, or a larger share (n = 300"),
        ({"certified": False, "needed_n": 200}, ": no threshold kept all promises together; allow more escalation"),
    ],
)
def test_a_promise_about_a_label_says_what_it_promises_or_why_not(changes: dict[str, object], says: str) -> None:
    promise = LabelPromise.model_validate({**LABEL_PROMISE.model_dump(), **changes})
    assert says in promise.statement
    point = make_point(label_promises=(promise,), label_thresholds={"ham": 0.9}, certified_on="traffic")
    assert OperatingPoint.model_validate_json(point.model_dump_json()) == point
