"""The bounds of the hot path, each beside what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Literal, TypedDict

from benchmarks.loads import BUDGET_MS
from loadtest.traffic.plan import MAX_LAG_MS
from loadtest.verdict.steps import MAX_REFUSAL_MS, MIN_GOODPUT_SHARE, MIN_IN_TIME_SHARE, Step

CONNECTIONS = (1, 8, 32)

Group = Mapping[str, float]
"""Figures of one thing: of a key's rounds (median, least, most), or of the endurance."""


class Bound(TypedDict):
    """One bound, and whether it holds; `measured` is None where there was nothing to measure, and then it does not."""

    what: str
    measured: float | None
    asked: str
    holds: bool


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest of the rounds."""
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def bounds(
    rounds: Mapping[str, Group], expert: Sequence[Step], screen: Sequence[Step], endurance: Group
) -> list[Bound]:
    """Every bound with its figure: ratios and differences of medians of the same rounds.

    `rounds`: spreads by key of `hot_path.one_round`. `expert`, `screen`: steps of open-loop load, where everything and
    where nothing escalates. `endurance`: as `hot_path.endurance` gives it.
    """
    return [*closed_loop_bounds(rounds), *endurance_bounds(endurance), *expert_bounds(expert), *screen_bounds(screen)]


def closed_loop_bounds(rounds: Mapping[str, Group]) -> list[Bound]:
    """The hot path against the model alone and against FastAPI."""

    def m(key: str) -> float:
        return rounds[key]["median"]

    over_expert = m("expert_1_p50_ms") - m("alone_run_p50_ms")
    over_screen = m("screen_1_p50_ms") - m("screen_alone_p50_ms")
    share_of_alone = m("expert_32_per_s") / m("alone_32_per_s")
    share_of_bare = m("empty_32_per_s") / m("bare_32_per_s")
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
        _row("requests/s of one process with an empty model, share of a bare application's", share_of_bare, ">=", 0.7),
    ]


def endurance_bounds(endurance: Group) -> list[Bound]:
    """What many requests lose, leak and hold up."""
    growth_mb = (endurance["rss_bytes_at_the_end"] - endurance["rss_bytes_after_20000"]) / 1e6
    return [
        _row("escalations lost of 100,000", endurance["escalations_lost"], "<=", 0),
        _row("MB of growth from 20,000 to 200,000 requests", growth_mb, "<=", 5),
        _row("longest of the empty model's answers at 1 connection, ms", endurance["longest_ms"], "<=", 20),
    ]


def expert_bounds(steps: Sequence[Step]) -> list[Bound]:
    """Loads at multiples of the expert's saturation, where everything escalates."""
    own = {step["times"]: step["expert_per_s"] for step in steps}
    in_time = {step["times"]: step["per_s"]["full"] + step["per_s"]["degraded"] for step in steps}
    low, high = steps[0], steps[-1]
    return [
        _row(f"everything escalates: p99 ms at {low['times']:g} of saturation", low["answer_ms"], "<=", BUDGET_MS),
        *(
            _row(
                f"everything escalates: the expert's own answers in time at {times:g} times its saturation, share of "
                "their peak",
                per_s / (max(own.values()) or 1.0),
                ">=",
                MIN_GOODPUT_SHARE,
            )
            for times, per_s in own.items()
            if times >= 1
        ),
        _row(
            f"everything escalates: answers in time at {high['times']:g} times saturation, degraded ones too, share of "
            "their peak",
            in_time[high["times"]] / (max(in_time.values()) or 1.0),
            ">=",
            MIN_GOODPUT_SHARE,
        ),
        *_of_any_load("everything escalates", steps),
    ]


def screen_bounds(steps: Sequence[Step]) -> list[Bound]:
    """Loads at multiples of the API's saturation, where nothing escalates."""
    full = {step["times"]: step["per_s"]["full"] for step in steps}
    beyond = [step for step in steps if step["times"] >= 1]
    in_time = min((share for step in beyond if (share := step["in_time_share"]) is not None), default=None)
    kept = min(full[step["times"]] for step in beyond) / (max(full.values()) or 1.0)
    return [
        _row("screen alone: goodput from saturation on, share of its peak", kept, ">=", MIN_GOODPUT_SHARE),
        _row("screen alone: answers in time, share of the answers", in_time, ">=", MIN_IN_TIME_SHARE),
        *_of_any_load("screen alone", steps),
    ]


def _of_any_load(which: str, steps: Sequence[Step]) -> list[Bound]:
    """What holds at every load: an answer for each request, quick refusals, a generator that keeps its schedule."""
    missing = sum(step["counts"]["missing"] for step in steps)
    lag_ms = max(step["lag_ms"] for step in steps)
    rows = [
        _row(f"{which}: requests without an answer", missing, "<=", 0),
        _row(f"{which}: p99 ms of the generator's own lag", lag_ms, "<=", MAX_LAG_MS),
    ]
    if any(step["counts"]["shed"] for step in steps):
        refusal_ms = max((ms for step in steps if (ms := step["server_refusal_ms"]) is not None), default=None)
        rows.append(_row(f"{which}: p99 ms of a refusal in the server", refusal_ms, "<=", MAX_REFUSAL_MS))
    return rows


def _row(what: str, measured: float | None, sign: Literal["<=", ">="], bound: float) -> Bound:
    holds = measured is not None and (measured >= bound if sign == ">=" else measured <= bound)
    asked = f"{'at least' if sign == '>=' else 'at most'} {bound:g}"
    return {"what": what, "measured": measured, "asked": asked, "holds": holds}
