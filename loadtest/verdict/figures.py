"""Numbers of a run: percentiles with bootstrap intervals, shares, goodput, and where the time went."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.verdict.outcome import KINDS, Outcome

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
MIN_BEYOND = 10
"""So many samples must lie beyond a percentile for it to be more than one slow request's name."""
BLOCK_S, MIN_BLOCKS = 1.0, 20
RESAMPLES = 400
TAIL_SHARE = 0.05

# The server's parts by what they are; whatever it states beyond them counts as `other`.
GROUP_OF = {
    "read": "serialization",
    "encode": "serialization",
    "tokenise": "pre-processing",
    "decode": "pre-processing",
    "admission": "queueing",
    "queue": "queueing",
    "hop": "network",
    "screen": "inference",
    "expert": "inference",
    "model": "inference",
}
API_PARTS = ("admission", "read", "tokenise", "decode", "screen", "encode")
"""Parts in which the API's own process works."""
GROUPS = ("network", "serialization", "pre-processing", "queueing", "inference", "other", "generator")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed; NaN of none."""
    if not len(values):
        return math.nan
    return float(np.partition(np.asarray(values), rank := rank_of(share, len(values)))[rank])


def rank_of(share: float, count: int) -> int:
    """The place, from 0, of that value among `count` sorted ones."""
    return min(count - 1, max(0, math.ceil(share * count - 1e-9) - 1))


@dataclass(frozen=True, slots=True)
class Estimate:
    """A percentile in milliseconds with a bootstrap interval of 95 %; `enough`: whether there are samples for it."""

    value_ms: float
    low_ms: float
    high_ms: float
    enough: bool

    def as_dict(self) -> dict[str, Any]:
        """For JSON: infinite where so many got no answer, `too_few_samples` where it says little."""
        numbers = {"ms": self.value_ms, "low_ms": self.low_ms, "high_ms": self.high_ms}
        shown = {key: round(v, 3) if math.isfinite(v) else None for key, v in numbers.items()}
        return {**shown, "too_few_samples": not self.enough}


def estimates(due_s: NDArray[np.float64], latency_ms: NDArray[np.float64], seed: int = 1) -> dict[str, Estimate]:
    """All `PERCENTILES`, their intervals from a block bootstrap over its seconds, or 20 pieces of a short run.

    Requests of one second share a queue, so resampling them one by one would promise too much (Künsch 1989).
    """
    count = len(latency_ms)
    if not count:
        return {name: Estimate(math.nan, math.nan, math.nan, False) for name in PERCENTILES}
    blocks = _blocks(due_s, latency_ms)
    rng = np.random.default_rng(seed)
    resampled: dict[str, list[float]] = {name: [] for name in PERCENTILES}
    for _ in range(RESAMPLES):
        values = np.concatenate([blocks[i] for i in rng.integers(0, len(blocks), len(blocks))])
        ranks = {name: rank_of(share, len(values)) for name, share in PERCENTILES.items()}
        parted = np.partition(values, sorted(set(ranks.values())))
        for name, rank in ranks.items():
            resampled[name].append(float(parted[rank]))
    found = {}
    for name, share in PERCENTILES.items():
        # Not by interpolation: between two infinite values there is nothing.
        low, high = (percentile(resampled[name], s) for s in (0.025, 0.975))
        enough = count * (1 - share) >= MIN_BEYOND
        found[name] = Estimate(percentile(latency_ms, share), low, high, enough)  # type: ignore[arg-type]
    return found


def _blocks(due_s: NDArray[np.float64], latency_ms: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    width = min(BLOCK_S, max(np.ptp(due_s) / MIN_BLOCKS, 1e-3))
    number = (due_s // width).astype(int)
    order = np.argsort(number, kind="stable")
    edges = np.flatnonzero(np.diff(number[order])) + 1
    return [block for block in np.split(latency_ms[order], edges) if len(block)]


def figures(outcomes: Sequence[Outcome], seconds: float, deadline_ms: float, base_network_ms: float) -> dict[str, Any]:
    """Every figure of a run, for JSON. `deadline_ms`: an answer later than that is not counted as goodput.

    `latency_ms` is of the answers; in `asked_ms` whoever got no answer counts as infinitely late.
    """
    answers = [o for o in outcomes if o.answered]
    kinds = Counter(o.kind for o in outcomes)
    in_time = [o for o in answers if o.latency_ms <= deadline_ms]
    late = np.array([o.latency_ms if o.answered else math.inf for o in outcomes])
    judged = [o.right for o in answers if o.right is not None]
    return {
        "requests": len(outcomes),
        "seconds": round(seconds, 3),
        "offered_per_s": round(len(outcomes) / seconds, 2),
        "outcomes": {kind: kinds.get(kind, 0) for kind in KINDS},
        "in_time": len(in_time),
        "goodput_per_s": round(len(in_time) / seconds, 2),
        "degraded_share": _share(kinds["degraded"], len(answers)),
        "escalation_share": _share(sum(o.deferred for o in answers), len(answers)),
        "accuracy": _share(sum(map(bool, judged)), len(judged)),
        "latency_ms": _latency(answers),
        "asked_ms": {n: e.as_dict() for n, e in estimates(np.array([o.due_s for o in outcomes]), late).items()},
        "by_shape": {
            shape: {"requests": len(group), **_percentiles([o.latency_ms for o in group])}
            for shape, group in sorted(_by_shape(answers).items())
        },
        "parts": breakdown(answers, base_network_ms),
    }


def _latency(answers: Sequence[Outcome]) -> dict[str, Any]:
    due, latency = np.array([o.due_s for o in answers]), np.array([o.latency_ms for o in answers])
    return {name: estimate.as_dict() for name, estimate in estimates(due, latency).items()}


def _percentiles(values: Sequence[float]) -> dict[str, float]:
    return {name: round(percentile(values, share), 3) for name, share in PERCENTILES.items()}


def _by_shape(answers: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    groups: dict[str, list[Outcome]] = {}
    for outcome in answers:
        groups.setdefault(outcome.shape, []).append(outcome)
    return groups


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 5) if whole else None


def grouped(outcome: Outcome, base_network_ms: float) -> dict[str, float]:
    """Milliseconds of one answer by `GROUPS`; they add up to its latency.

    What passes outside the server's own clock is the network up to `base_network_ms`, what it takes when nothing
    queues; beyond that the request waited for the server to look at it, which is queueing. What the server's clock saw
    and names no part for is `other`, and so is everything where it states nothing.
    """
    parts = outcome.parts()
    total = parts.pop("total", None)
    named = sum(parts.values())
    groups = dict.fromkeys(GROUPS, 0.0)
    for name, value in parts.items():
        groups[GROUP_OF.get(name, "other")] += value
    groups["generator"] = max(0.0, outcome.lag_ms)
    if total is None and not parts:
        groups["other"] += outcome.wire_ms
        return groups
    inside = max(total or 0.0, named)
    groups["other"] += inside - named
    outside = max(0.0, outcome.wire_ms - inside)
    groups["network"] += min(outside, base_network_ms)
    groups["queueing"] += max(0.0, outside - base_network_ms)
    return groups


def breakdown(answers: Sequence[Outcome], base_network_ms: float) -> dict[str, Any]:
    """Means in milliseconds by group and by the server's own part: of all answers, and of the slowest 5 %."""
    if not answers:
        return {"all": None, "slowest": None}
    slowest = sorted(answers, key=lambda o: o.latency_ms)[-max(1, round(TAIL_SHARE * len(answers))) :]
    found = {}
    for name, those in (("all", answers), ("slowest", slowest)):
        groups = [grouped(o, base_network_ms) for o in those]
        parts = [o.parts() for o in those]
        found[name] = {
            "latency_ms": _mean([o.latency_ms for o in those]),
            "groups_ms": {group: _mean([g[group] for g in groups]) for group in GROUPS},
            "server_ms": {part: _mean([p.get(part, 0.0) for p in parts]) for part in _names(parts)},
        }
    return found


def _names(parts: Sequence[Mapping[str, float]]) -> list[str]:
    return list(dict.fromkeys(name for each in parts for name in each))


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)
