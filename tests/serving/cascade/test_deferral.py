"""The rule that decides between screen and expert, and what it promises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cascade.deferral import OperatingPoint, should_defer
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
