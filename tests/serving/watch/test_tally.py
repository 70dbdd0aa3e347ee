"""What is flushed is what prometheus_client itself would have counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.watch.tally import Counts, Tallies


@given(st.lists(st.one_of(st.floats(0, 3), st.sampled_from([0.1, 0.5, 1.0]))))
def test_a_tally_says_what_the_histogram_itself_would(values: list[float]) -> None:
    registry = CollectorRegistry()
    ours, theirs = (
        Histogram(name, "x", ["part"], buckets=(0.1, 0.5, 1.0), registry=registry) for name in ("ours", "theirs")
    )
    tallies = Tallies(ours)
    for place, value in enumerate(values):
        tallies.observe(value, "a")
        theirs.labels("a").observe(value)
        if place % 3 == 0:
            tallies.flush()
    tallies.flush()
    for suffix, extra in (("count", {}), *(("bucket", {"le": le}) for le in ("0.1", "0.5", "1.0", "+Inf"))):
        got = [registry.get_sample_value(f"{name}_{suffix}", {"part": "a", **extra}) for name in ("ours", "theirs")]
        assert (got[0] or 0) == (got[1] or 0)


def test_counts_are_flushed_once() -> None:
    registry = CollectorRegistry()
    counts = Counts(Counter("told", "x", ["outcome"], registry=registry))
    for _ in range(3):
        counts.add("ok")
        counts.flush()
        counts.flush()
    assert registry.get_sample_value("told_total", {"outcome": "ok"}) == 3
    counts.add("ok", count=4)
    counts.flush()
    assert registry.get_sample_value("told_total", {"outcome": "ok"}) == 7
