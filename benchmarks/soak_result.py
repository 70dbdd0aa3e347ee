"""The figures of a long day: slice by slice, and what grows over all of them."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict

from benchmarks.held import Held, Trend, held, trend
from loadtest.machine import Machine
from loadtest.pages import pictures
from loadtest.pages.files import write_json, write_text
from loadtest.traffic.reply import Reply
from loadtest.verdict.percentiles import percentile

BAD = "bad"
"""The shape of a sample that is bad input."""
API, SERVER = "sieve", "server"
WARM_UP_SHARE = 0.1
"""Of the slices: memory is taken up for the first time, which is no growth."""
LEAST_SLICES = 10
EARLY_SHARE, LATEST, MOST_GROWTH = 0.1, 3, 1.03
"""Memory after this share of the requests, as the median of so many slices, and how much more it may be at the end."""


class Slice(TypedDict):
    """Some seconds of a day. `failed`: of good requests; `wrong`: bad input that was not refused as such.

    `p99_ms`: of the answers, by the service's own times; None where there were none.
    """

    at_s: float
    requests: int
    failed: int
    wrong: int
    shed: int
    degraded: int
    p99_ms: float | None
    held: dict[str, Held]


class Growth(TypedDict):
    """Memory of all processes of the API: after a tenth of the requests, and at the end."""

    early_mb: float
    late_mb: float
    times: float


class Soak(TypedDict):
    """build/soak.json. `short`: a sentence for each thing that grows, fails or is wrong. `stopped`: by ctrl-C."""

    machine: NotRequired[Machine]
    load_average_before: NotRequired[float]
    cascade: NotRequired[str]
    rate: NotRequired[float]
    budget_ms: NotRequired[float]
    restarts: NotRequired[int]
    switches: NotRequired[int]
    stopped: NotRequired[bool]
    seconds: float
    requests: int
    failed: int
    wrong: int
    shed: int
    degraded: int
    trends: list[Trend]
    growth: Growth | None
    short: list[str]
    slices: list[Slice]


def slice_of(replies: Sequence[Reply], server: int, at_s: float) -> Slice:
    """What became of some requests, and what the processes of the server with this process id hold now."""
    good = [reply for reply in replies if reply.shape != BAD]
    took_ms = [reply.server_ms for reply in good if reply.answered and reply.server_ms is not None]
    return {
        "at_s": round(at_s, 1),
        "requests": len(replies),
        "failed": sum(reply.kind in ("failed", "timed out") for reply in good),
        "wrong": sum(not 400 <= reply.status < 500 for reply in replies if reply.shape == BAD),
        "shed": sum(reply.kind == "shed" for reply in good),
        "degraded": sum(reply.kind == "degraded" for reply in good),
        "p99_ms": round(percentile(took_ms, 0.99), 2) if took_ms else None,
        "held": held(server),
    }


def soak_of(slices: Sequence[Slice], *, requests: int | None) -> Soak:
    """The figures of a day. `requests`: as many as it should last for, whose memory is compared; None for a time."""
    trends = [trend(*series) for series in _series(slices)] if len(slices) >= LEAST_SLICES else []
    growth = _growth(slices) if requests and len(slices) >= LEAST_SLICES else None
    failed, wrong = sum(each["failed"] for each in slices), sum(each["wrong"] for each in slices)
    short = [
        f"{each['what']} grows: {each['added']:g} were added to {each['median']:g}" for each in trends if each["grows"]
    ]
    short += [f"{failed} good requests failed"] * bool(failed)
    short += [f"{wrong} bad requests were not refused as such"] * bool(wrong)
    short += [f"too short for a trend: fewer than {LEAST_SLICES} slices"] * (not trends)
    if growth and growth["times"] > MOST_GROWTH:
        short.append(f"memory grew {growth['times']:.3f} times from a tenth of the requests to the end")
    return {
        "seconds": slices[-1]["at_s"] if slices else 0.0,
        "requests": sum(each["requests"] for each in slices),
        "failed": failed,
        "wrong": wrong,
        "shed": sum(each["shed"] for each in slices),
        "degraded": sum(each["degraded"] for each in slices),
        "trends": trends,
        "growth": growth,
        "short": short,
        "slices": list(slices),
    }


def _series(slices: Sequence[Slice]) -> list[tuple[str, list[float], list[float]]]:
    """Name, times and values of what must not grow, without the warm-up."""
    rest = slices[int(WARM_UP_SHARE * len(slices)) :]
    wanted: dict[str, Callable[[Slice], float | None]] = {
        "memory of the API, PSS in MB": lambda each: _of(each, API, "pss_mb"),
        "memory of the API, RSS in MB": lambda each: _of(each, API, "rss_mb"),
        "files of the API": lambda each: _of(each, API, "files"),
        "threads of the API": lambda each: _of(each, API, "threads"),
        "sockets of the API": lambda each: _of(each, API, "sockets"),
        "memory of the server, RSS in MB": lambda each: _of(each, SERVER, "rss_mb"),
        "files of the server": lambda each: _of(each, SERVER, "files"),
        "p99, ms": lambda each: each["p99_ms"],
    }
    made = []
    for what, value in wanted.items():
        points = [(each["at_s"], found) for each in rest if (found := value(each)) is not None]
        if len(points) >= LEAST_SLICES // 2:
            made.append((what, [at_s for at_s, _ in points], [found for _, found in points]))
    return made


def _of(one: Slice, kind: str, quantity: str) -> float | None:
    there = one["held"].get(kind)
    return None if there is None else float(there[quantity])  # type: ignore[literal-required]  # a field of Held


def _growth(slices: Sequence[Slice]) -> Growth:
    sent, total = 0, sum(each["requests"] for each in slices)
    place = 0
    while sent < EARLY_SHARE * total:
        sent += slices[place]["requests"]
        place += 1
    early, late = (
        statistics.median(_of(each, API, "pss_mb") or 0.0 for each in part)
        for part in (slices[max(0, place - LATEST) : place], slices[-LATEST:])
    )
    return {"early_mb": round(early, 1), "late_mb": round(late, 1), "times": round(late / max(early, 1e-9), 4)}


def table(said: Soak) -> str:
    """What was sent, what grew and what did not, in Markdown."""
    lines = [
        f"{said['requests']:,} requests in {said['seconds'] / 60:.0f} minutes: {said['failed']} failed, "
        f"{said['shed']:,} shed, {said['degraded']:,} degraded, {said['wrong']} bad ones not refused as such; "
        f"the expert was ended {said.get('restarts', 0)} times, "
        f"another version served {said.get('switches', 0)} times.",
        "",
        "| what | median | added over the whole time (95 % interval) | |",
        "| --- | ---: | ---: | --- |",
    ]
    for each in said["trends"]:
        interval = f"{each['added']:+.2f} ({each['low']:+.2f} to {each['high']:+.2f})"
        lines.append(
            f"| {each['what']} | {each['median']:,.1f} | {interval} | {'grows' if each['grows'] else 'flat'} |"
        )
    if growth := said["growth"]:
        lines += ["", f"Memory of the API: {growth['early_mb']:.0f} MB after a tenth of the requests, "
                      f"{growth['late_mb']:.0f} MB at the end ({growth['times']:.3f} times)."]  # fmt: skip
    if said["short"]:
        lines += ["", *(f"- Falls short: {sentence}." for sentence in said["short"])]
    return "\n".join(lines)


def write_soak(path: Path, said: Soak) -> None:
    """Write the figures, and beside them a picture of them."""
    write_json(path, said)
    slices = said["slices"]
    kinds = sorted({kind for each in slices for kind in each["held"]})
    panels = {
        name: {kind: [_of(each, kind, quantity) or float("nan") for each in slices] for kind in kinds}
        for name, quantity in (
            ("PSS, MB", "pss_mb"),
            ("files", "files"),
            ("threads", "threads"),
            ("sockets", "sockets"),
        )
    }
    panels["p99, ms"] = {"answers": [each["p99_ms"] or float("nan") for each in slices]}
    write_text(path.with_suffix(".svg"), pictures.over_a_day([each["at_s"] / 60 for each in slices], panels))
