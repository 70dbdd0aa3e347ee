"""Deadline arithmetic, and the budgets that clients state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidInputError
from serving.load.budget import DEFAULT_MS, MAX_MS, Budget, check_budget_ms


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
