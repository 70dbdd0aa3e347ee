"""The objective of a service, and whether a run kept it: --slo p99=50ms --goodput 200 --goodput-degraded 220."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from loadtest.errors import ObjectiveError
from loadtest.verdict.figures import Figures
from loadtest.verdict.percentiles import PERCENTILES

LIMIT = re.compile(r"(p50|p90|p99|p99\.9)=(\d+(?:\.\d+)?)(ms|s)")
MAX_DEGRADED_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """What a service must keep.

    `limits_ms`: percentile -> milliseconds, over all requests; one without an answer is infinitely late.
    `goodput_per_s`: least rate of full answers, which are within the deadline and not degraded.
    `goodput_with_degraded_per_s`: least rate of answers within the deadline. `max_degraded_share`: of the answers.
    `strict`: a limit holds only when the upper end of the percentile's 95 % interval is within it.
    """

    limits_ms: Mapping[str, float] = field(default_factory=lambda: {"p99": 50.0})
    goodput_per_s: float | None = None
    goodput_with_degraded_per_s: float | None = None
    max_degraded_share: float = MAX_DEGRADED_SHARE
    strict: bool = False

    @property
    def deadline_ms(self) -> float:
        """The deadline that goodput counts by: the limit of the highest percentile."""
        return self.limits_ms[max(self.limits_ms, key=lambda name: PERCENTILES[name])]


class Judged(TypedDict):
    """One part of an objective beside its figure; `note` says when the figure is uncertain."""

    what: str
    asked: str
    measured: float | None
    holds: bool
    note: str


def read_limits(texts: Sequence[str]) -> dict[str, float]:
    """Read limits in milliseconds: `p99=50ms` gives {"p99": 50.0}. Raises ObjectiveError."""
    limits = {}
    for text in texts:
        match = LIMIT.fullmatch(text)
        if not match or not float(match[2]):
            raise ObjectiveError(f"an objective must be like p99=50ms or p99.9=0.2s, got {text!r}; write one like that")
        limits[match[1]] = float(match[2]) * (1e3 if match[3] == "s" else 1.0)
    return limits


def judge(figures: Figures, objective: Objective) -> list[Judged]:
    """One row for each part of the objective."""
    limits = objective.limits_ms.items()
    rows = [_judge_limit(figures, name, limit_ms, strict=objective.strict) for name, limit_ms in limits]
    goodputs = (
        ("goodput, full answers in time/s", figures["goodput_per_s"], objective.goodput_per_s),
        (
            "goodput with degraded answers, in time/s",
            figures["goodput_with_degraded_per_s"],
            objective.goodput_with_degraded_per_s,
        ),
    )
    rows += [
        judged(what, f"at least {least:g}", goodput, goodput >= least)
        for what, goodput, least in goodputs
        if least is not None
    ]
    share = figures["degraded_share"]
    asked = f"at most {objective.max_degraded_share:g}"
    rows.append(judged("degraded share of the answers", asked, share, (share or 0.0) <= objective.max_degraded_share))
    return rows


def _judge_limit(figures: Figures, name: str, limit_ms: float, *, strict: bool) -> Judged:
    got = figures["asked_ms"][name]
    low, measured, high = (math.inf if ms is None else ms for ms in (got["low_ms"], got["ms"], got["high_ms"]))
    holds = (high if strict else measured) <= limit_ms
    notes = ["too few samples"] if got["too_few_samples"] else []
    within = measured <= limit_ms
    if (within and high > limit_ms) or (strict and not within and low <= limit_ms):
        reaches = f"its 95 % interval reaches {'beyond' if within else 'inside'}"
        if strict:
            more = more_to_decide(figures["requests"], measured, high if within else low, limit_ms)
            reaches += "; " + (f"about {more:,} requests more would decide" if more else "a longer run would decide")
        if strict or not notes:
            notes.append(reaches)
    what, asked = f"{name} of all that was asked, ms", f"at most {limit_ms:g}"
    return judged(what, asked, got["ms"], holds, ", ".join(notes))


def more_to_decide(requests: int, measured: float, end: float, limit: float) -> int | None:
    """How many requests more would bring the end of an interval to the limit, to two digits; None where unknown.

    An interval shrinks with the root of the number of requests, if nothing else changes.
    """
    if not (math.isfinite(measured) and math.isfinite(end)) or measured == limit:
        return None
    more = requests * (((end - measured) / (limit - measured)) ** 2 - 1)
    return max(1, int(float(f"{math.ceil(more):.2g}")))


def judged(what: str, asked: str, measured: float | None, holds: bool, note: str = "") -> Judged:
    """One row of a verdict."""
    return {"what": what, "asked": asked, "measured": measured, "holds": holds, "note": note}
