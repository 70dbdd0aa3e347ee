"""Servers around the same model held against the first of them: medians of the rounds, and ratios with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from loadtest.machine import Machine, machine
from loadtest.verdict.comparison import Ratio, Spread, ratio, spread

CONNECTIONS = (1, 8, 32)
ALONE = "the model alone"


class Loop(TypedDict):
    """A closed loop: answers a second, and percentiles of their times."""

    per_s: float
    p50_ms: float
    p99_ms: float


class Cell(TypedDict):
    """One server at one number of connections. `times_the_first` is None for the first, or where it has no round."""

    per_s: Spread
    p50_ms: Spread
    p99_ms: Spread
    times_the_first: Ratio | None


class Highest(TypedDict):
    """The highest rate that kept the objective, in full answers a second."""

    per_s: Spread
    times_the_first: Ratio | None


class PeerRow(TypedDict):
    """One server. `why`: what kept it from being measured, or from being measured to the end; else None.

    `connections`: cells by the number of connections; of the model alone, by batch size.
    """

    name: str
    why: str | None
    connections: dict[str, Cell]
    highest: Highest | None
    rounds: list[PeerRound]


class PeerRound(TypedDict):
    """One round of one server. `place`: its turn in that round, from 1. `highest_per_s`: None where not searched."""

    number: int
    place: int
    connections: dict[str, Loop]
    highest_per_s: float | None


class Peers(TypedDict):
    """peers.json. `others`: what the servers do that are not being measured."""

    limits_ms: dict[str, float]
    seconds: float
    others: str
    load_average_before: float
    rows: list[PeerRow]
    machine: Machine


@dataclass(slots=True)
class Measured:
    """One server, round by round, and why it was given up."""

    rounds: list[PeerRound] = field(default_factory=list)
    why: str | None = None


def peer_rows(measured: Mapping[str, Measured]) -> list[PeerRow]:
    """A row for each server; ratios are to the first one that is no limit, in the rounds that both have."""
    first = next(own for name, own in measured.items() if name != ALONE)
    return [_row(name, own, first) for name, own in measured.items()]


def _row(name: str, own: Measured, first: Measured) -> PeerRow:
    against = {each["number"]: each for each in first.rounds}
    keys = list(own.rounds[0]["connections"]) if own.rounds else []
    rates = [rate for each in own.rounds if (rate := each["highest_per_s"]) is not None]
    pairs = [(each, against[each["number"]]) for each in own.rounds if each["number"] in against]
    rows: PeerRow = {
        "name": name,
        "why": own.why,
        "connections": {
            key: {
                "per_s": spread([each["connections"][key]["per_s"] for each in own.rounds]),
                "p50_ms": spread([each["connections"][key]["p50_ms"] for each in own.rounds]),
                "p99_ms": spread([each["connections"][key]["p99_ms"] for each in own.rounds]),
                "times_the_first": _times(
                    [(a["connections"][key]["per_s"], b["connections"][key]["per_s"]) for a, b in pairs], own is first
                ),
            }
            for key in keys
        },
        "highest": None,
        "rounds": own.rounds,
    }
    if rates:
        found = [(a["highest_per_s"], b["highest_per_s"]) for a, b in pairs]
        both = [(a, b) for a, b in found if a is not None and b is not None]
        rows["highest"] = {"per_s": spread(rates), "times_the_first": _times(both, own is first)}
    return rows


def _times(pairs: Sequence[tuple[float, float]], is_first: bool) -> Ratio | None:
    if is_first or not pairs:
        return None
    these, those = zip(*pairs, strict=True)
    return ratio(these, those)


def peers_result(
    measured: Mapping[str, Measured], *, limits_ms: Mapping[str, float], seconds: float, load_average: float
) -> Peers:
    """peers.json."""
    return {
        "limits_ms": dict(limits_ms),
        "seconds": seconds,
        "others": "ended, so one runs at a time",
        "load_average_before": round(load_average, 2),
        "rows": peer_rows(measured),
        "machine": machine(),
    }


def peers_table(result: Peers) -> str:
    """Markdown: requests/s and times at each number of connections, then the highest rates; below, what is missing."""
    rows = [row for row in result["rows"] if row["rounds"]]
    reference = next((row["name"] for row in result["rows"] if row["name"] != ALONE), "")
    parts = [_loops_table(rows, reference)]
    if any(row["highest"] for row in rows):
        parts.append(_highest_table(rows, reference, result["limits_ms"]))
    missing = [f"- {row['name']}: {_one_line(row['why'])}" for row in result["rows"] if row["why"]]
    return "\n\n".join([*parts, *(["Not measured, or not to the end:\n\n" + "\n".join(missing)] if missing else [])])


def _loops_table(rows: Sequence[PeerRow], reference: str) -> str:
    heads = " | ".join(f"{count} connection{'s' * (count > 1)}, requests/s | p50, p99 ms" for count in CONNECTIONS)
    lines = [f"| times {reference} in brackets | {heads} |", f"| --- |{' ---: |' * (2 * len(CONNECTIONS))}"]
    for row in rows:
        cells = []
        for count in CONNECTIONS:
            cell = row["connections"].get(str(count))
            cells += [_rate(cell["per_s"], cell["times_the_first"]), _percentiles(cell)] if cell else ["", ""]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _highest_table(rows: Sequence[PeerRow], reference: str, limits_ms: Mapping[str, float]) -> str:
    limits = ", ".join(f"{name} {ms:g} ms" for name, ms in limits_ms.items())
    lines = [f"| at {limits}, Poisson arrivals | highest rate, answers/s (times {reference}) |", "| --- | ---: |"]
    for row in rows:
        if (found := row["highest"]) is not None:
            lines.append(f"| {row['name']} | {_rate(found['per_s'], found['times_the_first'])} |")
    return "\n".join(lines)


def _rate(found: Spread, times: Ratio | None) -> str:
    said = f"{found['median']:.0f}, {found['lowest']:.0f} to {found['highest']:.0f}"
    return f"{said} ({times['median']:.2f}, {times['low']:.2f} to {times['high']:.2f})" if times else said


def _percentiles(cell: Cell) -> str:
    return f"{cell['p50_ms']['median']:.1f}, {cell['p99_ms']['median']:.1f}"


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
