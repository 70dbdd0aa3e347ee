"""The figures of a run: counts, shares, goodput, percentiles, and where the time went."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from loadtest.traffic.reply import KINDS, Reply
from loadtest.verdict.parts import Breakdown, breakdown
from loadtest.verdict.percentiles import PERCENTILES, EstimateRow, estimates, percentile


class Figures(TypedDict):
    """Every figure of a run, for JSON.

    `outcomes`: requests by kind. `in_time`: answers within the deadline, and `full` those of them that are not
    degraded. `goodput_per_s`: rate of the full ones; `goodput_with_degraded_per_s`: of all in time. `latency_ms`: of
    the answers. `asked_ms`: of all requests, where one without an answer is infinitely late. A share is None where
    nothing was counted.
    """

    requests: int
    seconds: float
    offered_per_s: float
    outcomes: dict[str, int]
    in_time: int
    full: int
    goodput_per_s: float
    goodput_with_degraded_per_s: float
    degraded_share: float | None
    escalation_share: float | None
    accuracy: float | None
    latency_ms: dict[str, EstimateRow]
    asked_ms: dict[str, EstimateRow]
    by_shape: dict[str, Mapping[str, float]]
    parts: Breakdown


def figures(replies: Sequence[Reply], seconds: float, deadline_ms: float, base_network_ms: float) -> Figures:
    """The figures of a run that lasted `seconds`.

    `deadline_ms`: a later answer does not count as goodput. `base_network_ms`: as in `parts.grouped`.
    """
    answers = [reply for reply in replies if reply.answered]
    kinds = Counter(reply.kind for reply in replies)
    in_time = [reply for reply in answers if reply.latency_ms <= deadline_ms]
    full = sum(reply.kind == "ok" for reply in in_time)
    judged = [reply.right for reply in answers if reply.right is not None]
    return {
        "requests": len(replies),
        "seconds": round(seconds, 3),
        "offered_per_s": round(len(replies) / seconds, 2),
        "outcomes": {kind: kinds.get(kind, 0) for kind in KINDS},
        "in_time": len(in_time),
        "full": full,
        "goodput_per_s": round(full / seconds, 2),
        "goodput_with_degraded_per_s": round(len(in_time) / seconds, 2),
        "degraded_share": _share(kinds["degraded"], len(answers)),
        "escalation_share": _share(sum(reply.deferred for reply in answers), len(answers)),
        "accuracy": _share(sum(judged), len(judged)),
        "latency_ms": _estimates(answers),
        "asked_ms": _estimates(replies),
        "by_shape": {
            shape: {"requests": len(latencies), **_percentiles(latencies)}
            for shape, latencies in sorted(_by_shape(answers).items())
        },
        "parts": breakdown(answers, base_network_ms),
    }


def _estimates(replies: Sequence[Reply]) -> dict[str, EstimateRow]:
    due = np.array([reply.due_s for reply in replies])
    latency = np.array([reply.latency_ms if reply.answered else math.inf for reply in replies])
    return {name: estimate.as_dict() for name, estimate in estimates(due, latency).items()}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {name: round(percentile(values, share), 3) for name, share in PERCENTILES.items()}


def _by_shape(answers: Sequence[Reply]) -> dict[str, list[float]]:
    latencies: dict[str, list[float]] = {}
    for reply in answers:
        latencies.setdefault(reply.shape, []).append(reply.latency_ms)
    return latencies


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None
