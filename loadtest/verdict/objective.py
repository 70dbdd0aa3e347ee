"""What is asked of a service, and whether a run kept it: --slo p99=50ms --goodput 200."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from loadtest.verdict.figures import PERCENTILES

LIMIT = re.compile(r"(p50|p90|p99|p99\.9)=(\d+(?:\.\d+)?)(ms|s)")
MAX_DEGRADED_SHARE = 0.01


class ObjectiveError(ValueError):
    """An objective that cannot be read; the text names the rule and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """`limits_ms`: percentile -> milliseconds, judged over all that was asked: who got no answer was infinitely late.
    `goodput_per_s`: answers inside the deadline, at least. `max_degraded_share`: of the answers.
    """

    limits_ms: Mapping[str, float] = field(default_factory=lambda: {"p99": 50.0})
    goodput_per_s: float | None = None
    max_degraded_share: float = MAX_DEGRADED_SHARE

    @property
    def deadline_ms(self) -> float:
        """What counts as in time: the limit of the highest percentile."""
        return self.limits_ms[max(self.limits_ms, key=lambda name: PERCENTILES[name])]


def read_limits(texts: Sequence[str]) -> dict[str, float]:
    """`p99=50ms` -> {"p99": 50.0}."""
    limits = {}
    for text in texts:
        match = LIMIT.fullmatch(text)
        if not match or not float(match[2]):
            raise ObjectiveError(f"an objective must be like p99=50ms or p99.9=0.2s, got {text!r}; write one like that")
        limits[match[1]] = float(match[2]) * (1e3 if match[3] == "s" else 1.0)
    return limits


def judge(figures: Mapping[str, Any], objective: Objective) -> list[dict[str, Any]]:
    """One row for each thing asked: what, asked, measured, holds, and a note where the figure says little."""
    rows = []
    for name, limit in objective.limits_ms.items():
        got = figures["asked_ms"][name]
        measured, high = (math.inf if got[key] is None else got[key] for key in ("ms", "high_ms"))
        holds = measured <= limit
        note = "too few samples" if got["too_few_samples"] else ""
        if holds and high > limit and not note:
            note = "its 95 % interval reaches beyond"
        rows.append(_row(f"{name} of all that was asked, ms", f"at most {limit:g}", got["ms"], holds, note))
    if objective.goodput_per_s is not None:
        goodput = figures["goodput_per_s"]
        asked = f"at least {objective.goodput_per_s:g}"
        rows.append(_row("goodput, answers in time/s", asked, goodput, goodput >= objective.goodput_per_s))
    share = figures["degraded_share"]
    asked = f"at most {objective.max_degraded_share:g}"
    rows.append(_row("degraded share of the answers", asked, share, (share or 0.0) <= objective.max_degraded_share))
    return rows


def _row(what: str, asked: str, measured: float | None, holds: bool, note: str = "") -> dict[str, Any]:
    return {"what": what, "asked": asked, "measured": measured, "holds": holds, "note": note}
