"""The figures of an overload and the way back: full answers, p99 second by second, memory, and what falls short."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple, NotRequired, TypedDict

from loadtest.machine import Machine
from loadtest.traffic.plan import MAX_LAG_MS
from loadtest.traffic.reply import Reply
from loadtest.verdict.percentiles import percentile
from loadtest.verdict.steps import Saturation

LEAST_KEPT, NORMAL_WITHIN_S, MOST_GROWTH = 0.9, 3, 1.03
"""Full answers under overload as a share of the peak; when p99 must be normal again; memory after, against before."""
LEAST_OFFERED = 0.9
"""Of the overload that is asked for: a generator that sends less has not overloaded the service as the table says."""
MOST_KEPT = 1.25
"""With a larger share than this the peak lies above saturation as it was found, which says that it was not."""
LATEST = 5
"""Memory before and after is the median of so many samples, the last ones."""
FAILED = ("failed", "timed out")


class Phase(NamedTuple):
    """Some seconds of a load at a multiple of saturation."""

    what: str
    times: float
    seconds: float


class Row(TypedDict):
    """What became of the requests of a phase. `asked_per_s`: by when they were due; `offered_per_s`: by when they left.

    Full answers are in time and not degraded. `p99_ms`: of the answers, by the service's own times; None where there
    were none. `lag_ms`: p99 of how late the generator sent.
    """

    what: str
    times: float
    requests: int
    asked_per_s: float
    offered_per_s: float
    full_per_s: float
    degraded_per_s: float
    shed_per_s: float
    failed: int
    p99_ms: float | None
    lag_ms: float


class Memory(TypedDict):
    """PSS of all processes of the API, in MB: before the overload, the most during it, and at the end."""

    before: float
    during: float
    after: float


class Back(TypedDict):
    """build/overload-back.json. `peak_per_s`: the most full answers/s of the phases at and a little above saturation.

    `kept_share`: full answers/s under overload, as a share of the peak. `after_p99_ms`: of each second after the
    return. `normal_s`: seconds from the return to the first second whose p99 is within the budget; `as_before_s`: to
    the first whose p99 is at most that before the overload; None where there is no such second. `short`: a sentence
    for each bound that was broken.
    """

    machine: NotRequired[Machine]
    load_average_before: NotRequired[float]
    cascade: NotRequired[str]
    saturation: NotRequired[Saturation]
    core: NotRequired[int | None]
    budget_ms: float
    rows: list[Row]
    peak_per_s: float
    kept_share: float
    after_p99_ms: list[float | None]
    normal_s: int | None
    as_before_s: int | None
    memory_mb: Memory
    short: list[str]


def row_of(phase: Phase, replies: Sequence[Reply], budget_ms: float) -> Row:
    """The figures of the requests that were due in a phase."""
    left_s = [sent_s(reply) for reply in replies]
    lasted_s = max(phase.seconds, max(left_s, default=0.0) - min(left_s, default=0.0))
    lags_ms = [reply.lag_ms for reply in replies]

    def per_s(count: int) -> float:
        return round(count / lasted_s, 1)

    return {
        "what": phase.what,
        "times": phase.times,
        "requests": len(replies),
        "asked_per_s": round(len(replies) / phase.seconds, 1),
        "offered_per_s": per_s(len(replies)),
        "full_per_s": per_s(sum(_is_full(reply, budget_ms) for reply in replies)),
        "degraded_per_s": per_s(sum(reply.kind == "degraded" for reply in replies)),
        "shed_per_s": per_s(sum(reply.kind == "shed" for reply in replies)),
        "failed": sum(reply.kind in FAILED for reply in replies),
        "p99_ms": p99_ms(replies),
        "lag_ms": round(percentile(lags_ms, 0.99), 1) if lags_ms else 0.0,
    }


def returned_s(replies: Sequence[Reply], end_s: float) -> float:
    """When an overload that should end at `end_s` had ended: once the generator has sent what it was late with."""
    at_s = end_s
    for reply in sorted(replies, key=lambda each: each.due_s):
        if reply.due_s >= end_s and reply.lag_ms <= MAX_LAG_MS:
            break
        at_s = max(at_s, sent_s(reply))
    return at_s


def seconds_after(replies: Sequence[Reply], at_s: float, end_s: float) -> list[float | None]:
    """p99 of the requests that left in each whole second from `at_s` to `end_s`."""
    seconds: list[list[Reply]] = [[] for _ in range(max(0, math.floor(end_s - at_s)))]
    for reply in replies:
        place = math.floor(sent_s(reply) - at_s)
        if 0 <= place < len(seconds):
            seconds[place].append(reply)
    return [p99_ms(second) for second in seconds]


def back_of(
    peaks: Sequence[Row], rows: tuple[Row, Row, Row], after_p99_ms: list[float | None], memory: Memory, budget_ms: float
) -> Back:
    """The figures of an overload. `rows`: before it, it, and after it."""
    before, during, _ = rows
    peak_per_s = max(row["full_per_s"] for row in peaks)
    said: Back = {
        "budget_ms": budget_ms,
        "rows": [*peaks, *rows],
        "peak_per_s": peak_per_s,
        "kept_share": round(during["full_per_s"] / max(peak_per_s, 1e-9), 3),
        "after_p99_ms": after_p99_ms,
        "normal_s": _first(after_p99_ms, budget_ms),
        "as_before_s": _first(after_p99_ms, before["p99_ms"] or 0.0),
        "memory_mb": memory,
        "short": [],
    }
    return {**said, "short": _short(said, during)}


def memory_of(samples: Sequence[tuple[float, float]], begin_s: float, end_s: float) -> Memory:
    """Memory around an overload from `begin_s` to `end_s`. `samples`: seconds and MB, by ascending time."""
    before = [mb for at_s, mb in samples if at_s < begin_s]
    during = [mb for at_s, mb in samples if begin_s <= at_s < end_s]
    after = [mb for at_s, mb in samples if at_s >= end_s] or during  # a generator that was late until the end
    return {
        "before": round(statistics.median(before[-LATEST:]), 1),
        "during": round(max(during), 1),
        "after": round(statistics.median(after[-LATEST:]), 1),
    }


def p99_ms(replies: Sequence[Reply]) -> float | None:
    """p99 of the answers, by the service's own times; None where there are none."""
    took_ms = [reply.server_ms for reply in replies if reply.answered and reply.server_ms is not None]
    return round(percentile(took_ms, 0.99), 1) if took_ms else None


def sent_s(reply: Reply) -> float:
    """When a request left, in seconds from the start."""
    return reply.due_s + reply.lag_ms / 1e3


def _is_full(reply: Reply, budget_ms: float) -> bool:
    took_ms = reply.server_ms
    return reply.kind == "ok" and took_ms is not None and took_ms <= budget_ms


def _first(seconds: Sequence[float | None], most_ms: float) -> int | None:
    return next((place for place, ms in enumerate(seconds) if ms is not None and ms <= most_ms), None)


def _short(said: Back, during: Row) -> list[str]:
    """A sentence for each bound that was broken."""
    memory, found = said["memory_mb"], []
    if said["kept_share"] < LEAST_KEPT:
        found.append(f"full answers under overload were {said['kept_share']:.2f} of the peak, less than {LEAST_KEPT:g}")
    if said["kept_share"] > MOST_KEPT:
        found.append(f"full answers under overload were {said['kept_share']:.2f} of the peak, which was not found then")
    if said["normal_s"] is None or said["normal_s"] > NORMAL_WITHIN_S:
        when = _after(said["normal_s"])
        found.append(f"p99 was within the budget {when}, and should be within {NORMAL_WITHIN_S} s")
    if memory["after"] > MOST_GROWTH * memory["before"]:
        found.append(f"memory was {memory['after']:.0f} MB at the end, and {memory['before']:.0f} before")
    for row in said["rows"]:
        if row["failed"]:
            found.append(f"{row['what']}: {row['failed']} requests got no answer")
        if row is not during and row["lag_ms"] > MAX_LAG_MS:
            found.append(f"{row['what']}: the generator was {row['lag_ms']:g} ms late, so this says little")
    if during["offered_per_s"] < LEAST_OFFERED * during["asked_per_s"]:
        found.append(f"the generator sent {during['offered_per_s']:g}/s under overload, not {during['asked_per_s']:g}")
    return found


def table(said: Back) -> str:
    """What was sent and what became of it, in Markdown."""
    lines = [
        "| load | times saturation | offered/s | full/s | degraded/s | shed/s | no answer | p99 | lag p99 |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in said["rows"]:
        cells = [row["what"], f"{row['times']:g}"]
        cells += [f"{row[name]:,.0f}" for name in ("offered_per_s", "full_per_s", "degraded_per_s", "shed_per_s")]
        cells += [str(row["failed"]), _ms(row["p99_ms"]), _ms(row["lag_ms"])]
        lines.append(f"| {' | '.join(cells)} |")
    memory, budget = said["memory_mb"], f"within the budget of {said['budget_ms']:g} ms"
    lines += [
        "",
        f"Full answers under overload: {said['kept_share']:.2f} of the peak, {said['peak_per_s']:,.0f}/s.",
        f"p99 of each second after the return: {', '.join(map(_ms, said['after_p99_ms']))}.",
        f"It was {budget} {_after(said['normal_s'])}, and what it was before {_after(said['as_before_s'])}.",
        f"Memory of the API: {memory['before']:.0f} MB before, {memory['during']:.0f} at most under overload, "
        f"{memory['after']:.0f} at the end.",
    ]
    if said["short"]:
        lines += ["", *(f"- Falls short: {sentence}." for sentence in said["short"])]
    return "\n".join(lines)


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} ms"


def _after(seconds: int | None) -> str:
    return "never" if seconds is None else f"{seconds} s after the return"
