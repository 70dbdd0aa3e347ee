"""Who may come in, and who is refused first."""

from __future__ import annotations

import pytest

from serving.load.admission import PERIOD_S, Admission, Priority, Reason
from serving.load.turns import Turn, Turns


def test_high_priority_is_shed_last() -> None:
    admission = Admission(20)

    def reasons(priority: Priority) -> list[Reason | None]:
        return [admission.enter(priority, 0.0, 0.0) for _ in range(100)]

    assert reasons("normal") == [None] * 18 + ["reserved"] * 82
    assert reasons("high") == [None] * 2 + ["limit"] * 98
    assert admission.shed == {"normal": 82, "high": 98}
    admission.leave()
    assert admission.enter("normal", 0.0, 0.0) == "reserved"
    assert admission.enter("high", 0.0, 0.0) is None


def busy(ms_ahead: float) -> Turns:
    """Turns with so much work ahead of whoever comes now, at 100 s."""
    turns = Turns()
    first = Turn("text", ms_ahead, 99.0, 1e6)
    turns.enter(first, 99.0)
    turns.end(first, 99.0 + ms_ahead / 1e3)
    turns.look()
    turns.enter(Turn("text", ms_ahead, 100.0, 1e6), 100.0)
    return turns


@pytest.mark.parametrize(
    ("ms_ahead", "waited_ms", "reason"),
    [(10, 0, None), (34, 0, "deadline"), (10, 24, "deadline"), (10, 20, None)],
)
def test_work_ahead_and_time_unseen_count_against_the_budget(
    ms_ahead: float, waited_ms: float, reason: Reason | None
) -> None:
    admission = Admission(turns=busy(ms_ahead))
    assert admission.enter("normal", 100.0 - waited_ms / 1e3, 100.0) == reason


def test_the_longest_budget_of_the_last_seconds_counts_while_the_own_one_is_not_known() -> None:
    admission = Admission(turns=busy(300))
    assert admission.enter("normal", 100.0, 100.0) == "deadline"
    admission.saw_budget(1000, 100.0)
    assert admission.enter("normal", 100.0, 100.0) is None
    admission.saw_budget(50, 100.1 + PERIOD_S)
    assert admission.enter("normal", 100.1, 100.1) is None
    admission.saw_budget(50, 100.2 + 2 * PERIOD_S)
    assert admission.enter("normal", 100.2, 100.2) == "deadline"


def test_a_request_that_found_nobody_at_work_comes_in_however_late_it_is() -> None:
    assert Admission().enter("normal", 0.0, 10.0) is None
