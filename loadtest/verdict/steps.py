"""A service under rising load: what became of the requests at each rate, and whether it bears overload."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypedDict

from loadtest.machine import Machine
from loadtest.traffic.plan import MAX_LAG_MS
from loadtest.traffic.reply import Reply
from loadtest.verdict.objective import Judged, judged
from loadtest.verdict.percentiles import percentile

MIN_GOODPUT_SHARE = 0.9
"""Goodput beyond saturation, as a share of its peak, at least."""
MIN_IN_TIME_SHARE = 0.99
"""Answers in time, as a share of all answers of a step, at least."""
MAX_REFUSAL_MS = 5.0
"""p99 of the server's own time for a refusal, at most."""

Outcome = Literal["full", "degraded", "late", "shed", "missing"]
OUTCOMES: tuple[Outcome, ...] = ("full", "degraded", "late", "shed", "missing")


class Step(TypedDict):
    """One rate. Milliseconds are p99 unless the name says p50; None where there was nothing to measure.

    `times`: the rate as a multiple of saturation. `per_s`: requests per second by outcome; their sum is the offered
    rate. `expert_per_s`: full answers that the expert gave. `in_time_share`: of the answers. `answer_*_ms` and
    `refusal_ms` are the client's, from when a request was due; `server_*_ms` are what the server states. `lag_ms`: how
    late the generator sent. `valid`: whether that stayed within the limit.
    """

    times: float
    seconds: float
    requests: int
    offered_per_s: float
    counts: dict[Outcome, int]
    per_s: dict[Outcome, float]
    expert_per_s: float
    in_time_share: float | None
    answer_p50_ms: float | None
    answer_ms: float | None
    server_p50_ms: float | None
    server_ms: float | None
    refusal_ms: float | None
    server_refusal_ms: float | None
    lag_ms: float
    valid: bool


class Saturation(TypedDict):
    """`found`: "searched", "given", or "the generator's": then the generator was late at any higher rate."""

    per_s: float
    found: str


class OverloadResult(TypedDict):
    """overload.json. `valid`: the generator kept its schedule in every step. `passed`: and every rule holds."""

    began: str
    plan: dict[str, object]
    deadline_ms: float
    lag_limit_ms: float
    saturation: Saturation
    steps: list[Step]
    objective: list[Judged]
    valid: bool
    passed: bool
    machine: Machine


def outcome(reply: Reply, deadline_ms: float) -> Outcome:
    """What the client got: a full or a degraded answer in time, a late one, a refusal, or no answer."""
    if reply.answered:
        if reply.latency_ms > deadline_ms:
            return "late"
        return "full" if reply.kind == "ok" else "degraded"
    return "shed" if reply.kind == "shed" else "missing"


def step_of(
    replies: Sequence[Reply], seconds: float, *, times: float, deadline_ms: float, max_lag_ms: float = MAX_LAG_MS
) -> Step:
    """The figures of a step that lasted `seconds`. An answer is in time within `deadline_ms` of its due time."""
    told = [outcome(reply, deadline_ms) for reply in replies]
    counts = Counter(told)
    answers = [reply for reply in replies if reply.answered]
    refusals = [reply for reply in replies if reply.kind == "shed"]
    in_time = counts["full"] + counts["degraded"]
    by_expert = sum(kind == "full" and reply.stage == "expert" for kind, reply in zip(told, replies, strict=True))
    waited, served = [reply.latency_ms for reply in answers], _server_ms(answers)
    lag_ms = percentile([reply.lag_ms for reply in replies], 0.99)
    return {
        "times": times,
        "seconds": round(seconds, 3),
        "requests": len(replies),
        "offered_per_s": round(len(replies) / seconds, 2),
        "counts": {kind: counts[kind] for kind in OUTCOMES},
        "per_s": {kind: round(counts[kind] / seconds, 2) for kind in OUTCOMES},
        "expert_per_s": round(by_expert / seconds, 2),
        "in_time_share": round(in_time / len(answers), 5) if answers else None,
        "answer_p50_ms": _rounded(waited, 0.5),
        "answer_ms": _rounded(waited, 0.99),
        "server_p50_ms": _rounded(served, 0.5),
        "server_ms": _rounded(served, 0.99),
        "refusal_ms": _rounded([reply.latency_ms for reply in refusals], 0.99),
        "server_refusal_ms": _rounded(_server_ms(refusals), 0.99),
        "lag_ms": round(lag_ms, 3),
        "valid": lag_ms <= max_lag_ms,
    }


def judge_steps(steps: Sequence[Step]) -> list[Judged]:
    """Whether the service bears overload; one row for each rule, over the valid steps. No rows without such steps."""
    valid = [step for step in steps if step["valid"]]
    if not valid:
        return []
    kept = _kept(valid)
    in_time = min((share for step in valid if (share := step["in_time_share"]) is not None), default=None)
    missing = sum(step["counts"]["missing"] for step in valid)
    rows = [
        judged(
            "goodput from saturation on, share of its peak or of what is offered",
            f"at least {MIN_GOODPUT_SHARE:g}",
            kept,
            (kept or 0.0) >= MIN_GOODPUT_SHARE,
            "no valid step from saturation on" if kept is None else "",
        ),
        judged(
            "answers in time, share of the answers",
            f"at least {MIN_IN_TIME_SHARE:g}",
            in_time,
            (in_time or 0.0) >= MIN_IN_TIME_SHARE,
        ),
        judged("requests without an answer", "at most 0", missing, not missing),
    ]
    if refusals := [ms for step in valid if (ms := step["server_refusal_ms"]) is not None]:
        worst_ms = max(refusals)
        asked = f"at most {MAX_REFUSAL_MS:g}"
        rows.append(judged("p99 of a refusal in the server, ms", asked, worst_ms, worst_ms <= MAX_REFUSAL_MS))
    return rows


def _kept(steps: Sequence[Step]) -> float | None:
    """Goodput from saturation on: the least share of its peak, or of the offered rate where that is smaller."""
    peak = max(step["per_s"]["full"] for step in steps)
    beyond = [step for step in steps if step["times"] >= 1]
    shares = [step["per_s"]["full"] / (min(peak, step["offered_per_s"]) or 1.0) for step in beyond]
    return round(min(shares), 4) if shares else None


def _server_ms(replies: Sequence[Reply]) -> list[float]:
    """What the server states as its whole time, where it states one."""
    return [ms for reply in replies if (ms := reply.server_ms) is not None]


def _rounded(values: Sequence[float], share: float) -> float | None:
    return round(percentile(values, share), 3) if values else None
