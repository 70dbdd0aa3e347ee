"""Operating points for tests that need one and do not care how it was chosen."""

from __future__ import annotations

from typing import Any

from serving.cascade.deferral import Band, OperatingPoint, Promise, Reference

PROMISE = Promise(
    alpha=0.01,
    delta=0.05,
    certified=True,
    n=400,
    misses=0,
    upper_bound=0.0075,
    thresholds_tried=5,
    method="by hand",
)


def make_point(**changes: Any) -> OperatingPoint:
    """An operating point with threshold 0.8, four reference bins, and whatever `changes` say."""
    fields: dict[str, Any] = {
        "threshold": 0.8,
        "screen_digest": "a" * 64,
        "expert_digest": "b" * 64,
        "screen_variant": "cpu-int8",
        "expert_variant": "cpu-int8",
        "escalation_share": 0.25,
        "promise": PROMISE,
        "reference": Reference(edges=(0.8, 0.9, 0.95), shares=(0.25, 0.25, 0.25, 0.25), n=400),
        "band": Band(lowest_escalation_share=0.2, highest_escalation_share=0.3, window=200, min_n=100),
    }
    return OperatingPoint(**{**fields, **changes})
