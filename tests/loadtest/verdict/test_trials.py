"""The Pareto front of a search."""

from __future__ import annotations

from loadtest.verdict.trials import front


def test_the_front_is_what_no_other_trial_beats_in_both() -> None:
    pairs = [(20.0, 100.0), (30.0, 90.0), (40.0, 150.0), (40.0, 140.0), (None, 200.0), (10.0, 50.0), (50.0, 150.0)]
    trials = [{"p99_ms": p99, "goodput_per_s": goodput} for p99, goodput in pairs]
    assert [(t["p99_ms"], t["goodput_per_s"]) for t in front(trials)] == [
        (10.0, 50.0),
        (20.0, 100.0),
        (40.0, 150.0),
    ]
