from __future__ import annotations

from serving.load.budget import DEFAULT_MS
from serving.watch.buckets import BUDGET_LEFT_BUCKETS_S, LATENCY_BUCKETS_S, PART_BUCKETS_S


def test_bounds_ascend_and_the_default_budget_is_one_of_them() -> None:
    for bounds in (LATENCY_BUCKETS_S, PART_BUCKETS_S, BUDGET_LEFT_BUCKETS_S):
        assert list(bounds) == sorted(set(bounds))
        assert DEFAULT_MS / 1e3 in bounds
