"""The figures of an overload and the way back, from made replies."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.overload_back_result import (
    Back,
    Memory,
    Phase,
    Row,
    back_of,
    memory_of,
    returned_s,
    row_of,
    seconds_after,
    table,
)
from tests.loadtest.replies import reply

BUDGET_MS = 50.0
MEMORY: Memory = {"before": 200.0, "during": 230.0, "after": 203.0}


def row(what: str, times: float, full_per_s: float, **changes: Any) -> Row:
    made: dict[str, Any] = {"what": what, "times": times, "requests": 1000, "asked_per_s": 100 * times, "failed": 0}
    made |= {"offered_per_s": 100 * times, "full_per_s": full_per_s, "degraded_per_s": 1.0, "shed_per_s": 0.0}
    return Row(**{**made, "p99_ms": 30.0, "lag_ms": 1.0, **changes})


def back(*, full_per_s: float = 95.0, after: tuple[float | None, ...] = (60.0, 48.0, 29.0), **changes: Any) -> Back:
    memory = changes.pop("memory", MEMORY)
    during = row("overload", 10, full_per_s, shed_per_s=900.0, **{"lag_ms": 90.0, **changes})
    peaks = [row("at 1 times saturation", 1, 97.0), row("at 1.5 times saturation", 1.5, 100.0)]
    rows = row("before", 0.5, 50.0), during, row("after", 0.5, 50.0)
    return back_of(peaks, rows, list(after), memory, BUDGET_MS)


def test_a_row_counts_full_answers_by_the_services_own_times() -> None:
    replies = [reply(due_s=place / 100, parts={"total": 20.0}) for place in range(90)]
    replies += [reply(parts={"total": 51.0}), reply(kind="degraded", parts={"total": 50.0}), reply()]
    replies += [reply(kind="shed", status=503), reply(kind="failed", status=0), reply(kind="timed out", status=0)]
    said = row_of(Phase("overload", 10.0, 2.0), replies, BUDGET_MS)
    assert (said["full_per_s"], said["degraded_per_s"], said["shed_per_s"], said["failed"]) == (45.0, 0.5, 0.5, 2)
    assert (said["requests"], said["asked_per_s"], said["offered_per_s"], said["p99_ms"]) == (96, 48.0, 48.0, 51.0)


def test_what_the_generator_sent_late_is_counted_over_the_time_it_took() -> None:
    replies = [reply(due_s=place / 100, lag_ms=place * 30.0, parts={"total": 20.0}) for place in range(101)]
    said = row_of(Phase("overload", 10.0, 1.0), replies, BUDGET_MS)
    assert (said["asked_per_s"], said["offered_per_s"], said["full_per_s"]) == (101.0, 25.2, 25.2)


def test_an_overload_lasts_until_the_generator_is_in_time_again() -> None:
    late = [reply(due_s=9.9, lag_ms=700.0), reply(due_s=10.1, lag_ms=600.0), reply(due_s=10.4, lag_ms=500.0)]
    assert returned_s([*late, reply(due_s=11.0), reply(due_s=15.0, lag_ms=80.0)], 10.0) == pytest.approx(10.9)
    assert returned_s([reply(due_s=9.9), reply(due_s=10.1)], 10.0) == 10.0


def test_p99_of_each_second_after_the_return() -> None:
    replies = [reply(due_s=at_s, parts={"total": ms}) for at_s, ms in ((9.0, 1.0), (10.1, 80.0), (12.2, 20.0))]
    assert seconds_after(replies, 10.0, 13.5) == [80.0, None, 20.0]
    assert seconds_after(replies, 14.0, 13.5) == []


def test_memory_before_at_most_during_and_at_the_end() -> None:
    samples = [(float(at_s), 200.0 + (100 if at_s == 15 else 0) + (5 if at_s >= 25 else 0)) for at_s in range(32)]
    assert memory_of(samples, 10.0, 20.0) == {"before": 200.0, "during": 300.0, "after": 205.0}
    assert memory_of(samples, 10.0, 99.0)["after"] == 205.0, "the generator was never in time again"


def test_an_overload_that_is_borne() -> None:
    said = back()
    assert (said["peak_per_s"], said["kept_share"], said["normal_s"], said["as_before_s"]) == (100.0, 0.95, 1, 2)
    assert said["short"] == []
    assert [each["what"] for each in said["rows"]][2:] == ["before", "overload", "after"]
    lines = table(said).splitlines()
    assert "| overload | 10 | 1,000 | 95 | 1 | 900 | 0 | 30 ms | 90 ms |" in lines
    assert "p99 of each second after the return: 60 ms, 48 ms, 29 ms." in lines
    assert (
        "It was within the budget of 50 ms 1 s after the return, and what it was before 2 s after the return." in lines
    )
    assert lines[-1] == "Memory of the API: 200 MB before, 230 at most under overload, 203 at the end."


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (back(full_per_s=130.0), "full answers under overload were 1.30 of the peak, which was not found then"),
        (back(full_per_s=80.0), "full answers under overload were 0.80 of the peak, less than 0.9"),
        (
            back(after=(60.0, None, 60.0, 51.0, 49.0)),
            "p99 was within the budget 4 s after the return, and should be within 3 s",
        ),
        (back(after=(60.0, None)), "p99 was within the budget never, and should be within 3 s"),
        (back(memory={**MEMORY, "after": 207.0}), "memory was 207 MB at the end, and 200 before"),
        (back(failed=3), "overload: 3 requests got no answer"),
        (back(offered_per_s=800.0), "the generator sent 800/s under overload, not 1000"),
    ],
    ids=["no peak", "full", "late", "never", "memory", "failed", "generator"],
)
def test_what_falls_short_is_said(said: Back, says: str) -> None:
    assert said["short"] == [says]
    assert table(said).endswith(f"\n\n- Falls short: {says}.")
