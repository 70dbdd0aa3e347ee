from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from serving.watch.accuracy import feedback_of, wilson
from serving.watch.answered import UNKNOWN, About, Answered

ABOUT = About(kind="text", name="mine", version="v1", labels=("ham", "spam"), sets=False)


def codes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def test_each_stage_is_judged_on_what_it_said() -> None:
    told = Answered(
        ABOUT,
        told=codes(0, 0, 1, 1),
        answer=codes(0, 1, 1, 0),
        screen=codes(0, 1, UNKNOWN, 0),
        expert=codes(UNKNOWN, UNKNOWN, 1, UNKNOWN),
    )
    found = feedback_of([told], "text", "mine", "v1")
    assert found.cascade is not None
    assert found.screen is not None
    assert found.expert is not None
    assert [(s.right, s.n) for s in (found.cascade, found.screen, found.expert)] == [(2, 4), (1, 3), (1, 1)]
    spam = found.by_label["spam"]
    assert spam.cascade is not None
    assert (spam.cascade.right, spam.cascade.n, spam.cascade.accuracy) == (1, 2, 0.5)
    assert found.by_label["ham"].expert is None


def test_another_version_has_its_own_figures() -> None:
    told = Answered(ABOUT, codes(0), codes(0), codes(0), codes(UNKNOWN))
    nothing = feedback_of([told], "text", "mine", "v2")
    assert (nothing.cascade, nothing.by_label) == (None, {})


def test_a_label_of_a_set_is_right_where_it_is_given() -> None:
    about = About(kind="text", name="mine", version="v1", labels=("a", "b"), sets=True)
    told = Answered(about, codes(0b11, 0b10), codes(0b10, 0b10), codes(0b10, 0b10), codes(UNKNOWN, UNKNOWN))
    found = feedback_of([told], "text", "mine", "v1")
    assert found.cascade is not None
    assert (found.cascade.right, found.cascade.n) == (1, 2), "a set is right as a whole"
    a, b = found.by_label["a"].cascade, found.by_label["b"].cascade
    assert a is not None
    assert b is not None
    assert [(s.right, s.n) for s in (a, b)] == [(0, 1), (2, 2)]


@given(st.integers(1, 5000), st.floats(0, 1))
def test_the_interval_is_wilsons(n: int, share: float) -> None:
    right = round(share * n)
    expected = binomtest(right, n).proportion_ci(0.95, method="wilson")
    assert wilson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("rate", [0.8, 0.95])
def test_the_interval_covers_the_rate_about_as_often_as_said(rate: float) -> None:
    n = 200
    covered = sum(
        binom.pmf(right, n, rate) for right in range(n + 1) if wilson(right, n)[0] <= rate <= wilson(right, n)[1]
    )
    assert 0.93 < covered < 0.97
