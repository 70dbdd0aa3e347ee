"""The bounds of the hot path, each beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

BUDGET_MS = 50.0
CONNECTIONS = (1, 8, 32)

Group = Mapping[str, float]
"""Figures of one thing: of a key's rounds (median, least, most), or of one load."""


class Bound(TypedDict):
    """One bound, and whether it holds."""

    what: str
    measured: float
    asked: str
    holds: bool


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest of the rounds."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def bounds(rounds: Mapping[str, Group], loads: Mapping[str, Group], endurance: Group) -> list[Bound]:
    """Every bound with its figure: ratios and differences of medians of the same rounds.

    `rounds`: spreads by key of `hot_path.one_round`. `loads`: by times of saturation (0.7, 1, 5). `endurance`: as
    `hot_path.endurance` gives it.
    """

    def m(key: str) -> float:
        return rounds[key]["median"]

    over_expert = m("expert_1_p50_ms") - m("alone_run_p50_ms")
    over_screen = m("screen_1_p50_ms") - m("screen_alone_p50_ms")
    growth_mb = (endurance["rss_bytes_at_the_end"] - endurance["rss_bytes_after_20000"]) / 1e6
    goodput = {times: figures["goodput_per_s"] for times, figures in loads.items()}
    share_of_alone = m("expert_32_per_s") / m("alone_32_per_s")
    return [
        _row("expert at 32 connections, share of the model alone", share_of_alone, ">=", 0.92),
        *(
            _row(
                f"expert at {c} connections, times FastAPI", m(f"expert_{c}_per_s") / m(f"fastapi_{c}_per_s"), ">=", 1.0
            )
            for c in CONNECTIONS
        ),
        _row("expert at 1 connection, p50 ms over the model's own", over_expert, "<=", 1.0),
        _row("escalation, p50 ms over the expert's own", over_expert, "<=", 2.0),
        _row("screen's answer, p50 ms over tokenising and its session", over_screen, "<=", 0.8),
        _row("requests/s of one process with an empty model", m("empty_32_per_s"), ">=", 2000),
        _row("escalations lost of 100,000", endurance["escalations_lost"], "<=", 0),
        _row("MB of growth from 20,000 to 200,000 requests", growth_mb, "<=", 5),
        _row("longest of the empty model's answers at 1 connection, ms", endurance["longest_ms"], "<=", 20),
        _row("p99 ms at 0.7 of saturation, Poisson", loads["0.7"]["p99_ms"], "<=", BUDGET_MS),
        _row("p99 ms of a refusal in the server", loads["5"]["shed_server_p99_ms"], "<=", 5),
        _row("goodput at 5 times saturation, share of its peak", goodput["5"] / max(goodput.values()), ">=", 0.9),
    ]


def _row(what: str, measured: float, sign: Literal["<=", ">="], bound: float) -> Bound:
    return {
        "what": what,
        "measured": measured,
        "asked": f"{'at least' if sign == '>=' else 'at most'} {bound:g}",
        "holds": measured >= bound if sign == ">=" else measured <= bound,
    }
