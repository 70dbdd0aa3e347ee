"""make audit-cost: what audits, feedback and a shadow cost, as ratios with and without: build/audit-cost.json.

    python -m benchmarks.audit_cost [CASCADE] [--rounds 8] [--seconds 2]

1. for each of WATCHED serves a cascade whose screen is always trusted, so that all answers may be drawn: with audits at
   the default share, with ten times as many, with a memory for feedback, or with a copy of the cascade as its shadow
2. rounds: wrk at 1, 8 and 32 connections, with it, without, without, with: all in the same process of the API, where a
   signal ends it and begins it again (benchmarks/watched.py)
3. two ratios, each as the median of the rounds with its interval: what a request takes of the API's processor, which is
   the API's path, and requests/s. wrk and the experts share the cores with the API, so the second one holds the
   experts' work on audited items, and is of this machine
4. the exit status is 1 where a median of the path is above the bound that audits and feedback have, by the number of
   connections or of all rounds together: the rounds differ by more than the bound, so those by connections say little

Of a shadow it is said which share of the answers it was asked about: a busy service drops the others.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict

from benchmarks.bounds import CONNECTIONS
from benchmarks.command import end_with
from benchmarks.homes import NEVER, add_copy, make_home
from benchmarks.published import Published
from benchmarks.servers import TOGGLE, child, page, sieve
from benchmarks.texts import TOKENS, text_of
from loadtest.machine import Machine, machine
from loadtest.options import count, positive
from loadtest.pages.files import write_json
from loadtest.traffic.process import Running
from loadtest.traffic.wrk import closed_loop
from loadtest.verdict.comparison import Ratio, coverage, interval, ratios
from optimize.progress import console
from serving.settings import Settings

OUTPUT = Path("build") / "audit-cost.json"
MAX_TIMES = 1.01
"""Audits and feedback may cost 1 % of the API's path."""
NOTHING = "audit_share = 0.0"
BOUNDED = ("audits", "feedback")
TEN_TIMES = "ten times the audits"
"""The rounds differ by more than an audit costs. A tenth of what ten times as many cost is known better."""
WATCHED: Mapping[str, str] = {
    "audits": f"audit_share = {Settings().audit_share}",
    TEN_TIMES: f"audit_share = {10 * Settings().audit_share}",
    "feedback": f"{NOTHING}\nfeedback_memory = 100000",
    "shadow": NOTHING,
}
"""The settings of each. Shares are the default ones else."""
SHADOW = "copy-of-it"
ALL = 0
ORDER = (True, False, False, True)
"""With and without, within a round: what changes evenly meanwhile weighs on both."""
WARM_UP_S = 1.0
TOLD_S = 2.0
"""After so long the service's counts are on its page."""
LINE_S = 0.3
"""Within so long what waits in a line when the client ends is worked off, and is part of the measurement."""


class Side(TypedDict):
    """One half of a round: microseconds of the API's processor for a request, and requests/s."""

    path_us: float
    per_s: float


class Row(TypedDict):
    """`what` of WATCHED at so many connections, ALL for all rounds. `holds` is None for what has no bound.

    The ratios are with it to without.
    """

    what: str
    connections: int
    with_it: list[Side]
    without: list[Side]
    path_times: Ratio
    per_s_times: Ratio
    holds: bool | None


class AuditCost(TypedDict):
    """build/audit-cost.json."""

    machine: Machine
    load_average_before: float
    cascade: str
    tokens: int
    audit_share: float
    audited_share: float
    shadow_share: float
    compared_share: float
    rounds: int
    seconds: float
    max_times: float
    rows: list[Row]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit_cost", description="What audits cost")
    parser.add_argument("cascade", nargs="?", default="demo-text", help="a cascade of texts (demo-text)")
    parser.add_argument("--rounds", type=count, default=8, help="(8)")
    parser.add_argument("--seconds", type=positive, default=2.0, help="of each of the four parts of a round (2)")
    options = parser.parse_args()
    busy, published = os.getloadavg()[0], Published(options.cascade)
    body = {"text": text_of(TOKENS, published.expert), "budget_ms": 1000}
    rows, shares = list[Row](), dict[str, float]()
    for what in WATCHED:
        with (
            tempfile.TemporaryDirectory(prefix="sieve-audit-cost-") as name,
            served(what, published, Path(name)) as server,
        ):
            measured: dict[int, list[dict[bool, Side]]] = {connections: [] for connections in CONNECTIONS}
            for number in range(options.rounds):
                console.print(f"{what}: round {number + 1} of {options.rounds}")
                for connections, rounds in measured.items():
                    rounds.append(one_round(server, body, connections, options.seconds))
            time.sleep(TOLD_S)
            shares[what] = looked_at(what, page(server.url))
        rows += rows_of(what, measured)
    said: AuditCost = {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "cascade": options.cascade,
        "tokens": TOKENS,
        "audit_share": Settings().audit_share,
        "audited_share": round(shares["audits"], 5),
        "shadow_share": Settings().shadow_share,
        "compared_share": round(shares["shadow"], 5),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "max_times": MAX_TIMES,
        "rows": rows,
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, said)
    print(table(said))
    return 1 if any(each["holds"] is False for each in rows) else 0


def served(what: str, published: Published, folder: Path) -> contextlib.AbstractContextManager[Running]:
    """The cascade with `what` of WATCHED; its screen is always trusted."""
    home = make_home(folder / "home", published.store, published.name, threshold=NEVER)
    settings, shadow = folder / "settings.toml", SHADOW if what == "shadow" else ""
    settings.write_text(f"workers = 1\n{WATCHED[what]}\n", encoding="utf-8")
    if shadow:
        add_copy(home, published.name, shadow)
    return sieve(home, published.name, settings=settings, shadow=shadow, service="benchmarks.watched:Cascade")


def one_round(server: Running, body: Mapping[str, object], connections: int, seconds: float) -> dict[bool, Side]:
    """What a service gives that watches, and the same that does not. It watches before and after."""
    found: dict[bool, list[Side]] = {True: [], False: []}
    watches = True
    one(server, body, connections, WARM_UP_S)  # the first part at another number of connections is slower
    for wanted in ORDER:
        if wanted != watches:
            child(server, "--service-name sieve").send_signal(TOGGLE)
            watches = wanted
        found[wanted].append(one(server, body, connections, seconds))
    return {
        side: {
            "path_us": statistics.mean(each["path_us"] for each in halves),
            "per_s": statistics.mean(each["per_s"] for each in halves),
        }
        for side, halves in found.items()
    }


def one(server: Running, body: Mapping[str, object], connections: int, seconds: float) -> Side:
    """One measurement."""
    before_ns = api_ns(server)
    figures = closed_loop(f"{server.url}/classify_text", body, connections=connections, seconds=seconds)
    time.sleep(LINE_S)
    return {"path_us": (api_ns(server) - before_ns) / 1e3 / figures["requests"], "per_s": figures["per_s"]}


def api_ns(server: Running) -> int:
    """Nanoseconds of the processor that the API has used until now, those of the kernel for it among them."""
    # clock_getcpuclockid(3), which Python does not have: the clock of the time that the scheduler gave to a process.
    return time.clock_gettime_ns((~child(server, "--service-name sieve").pid << 3) | 2)


def rows_of(what: str, measured: Mapping[int, list[dict[bool, Side]]]) -> list[Row]:
    """A row for each number of connections, and one of all rounds together, which says more than each."""
    together = [each for rounds in measured.values() for each in rounds]
    return [row(what, connections, rounds) for connections, rounds in {**measured, ALL: together}.items()]


def row(what: str, connections: int, rounds: list[dict[bool, Side]]) -> Row:
    """What the rounds say. It holds where the median of the path is at most MAX_TIMES."""
    with_it, without = ([each[side] for each in rounds] for side in (True, False))
    path, per_s = (
        times([each[key] for each in with_it], [each[key] for each in without]) for key in ("path_us", "per_s")
    )
    return {
        "what": what,
        "connections": connections,
        "with_it": with_it,
        "without": without,
        "path_times": path,
        "per_s_times": per_s,
        "holds": path["median"] <= MAX_TIMES if what in BOUNDED else None,
    }


def times(these: list[float], those: list[float]) -> Ratio:
    """The ratio of the rounds, to more places than `ratio` gives: 1 % is asked."""
    found = ratios(these, those)
    low, high = interval(found)
    return {"median": round(statistics.median(found), 4), "low": round(low, 4), "high": round(high, 4)}


def looked_at(what: str, metrics: str) -> float:
    """The share of the trusted items that were audited, or of a shadow's drawn ones that were compared; 0 for none."""
    if what == "shadow":
        drawn = total(metrics, "shadow_items_total{.*}")
        return total(metrics, 'shadow_items_total{(?!.*outcome="dropped").*}') / max(1.0, drawn)
    return total(metrics, "audited_total{.*}") / max(1.0, total(metrics, "audit_trusted_total{.*}"))


def total(metrics: str, series: str) -> float:
    """The sum of the series that the pattern matches."""
    return sum(float(line.rpartition(" ")[2]) for line in metrics.splitlines() if re.match(f"sieve_{series} ", line))


def table(said: AuditCost) -> str:
    """The rows in Markdown."""
    least = min(coverage(len(each["with_it"])) for each in said["rows"])
    times = f"times (interval of {least:.0%} or more)"
    lines = [
        f"| | connections | path, µs: without | with | {times} | | requests/s, {times} |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: |",
    ]
    for each in said["rows"]:
        with_us, without_us = (
            statistics.median(side["path_us"] for side in sides) for sides in (each["with_it"], each["without"])
        )
        path, per_s = (
            f"{found['median']:.3f} ({found['low']:.3f} to {found['high']:.3f})"
            for found in (each["path_times"], each["per_s_times"])
        )
        verdict = {True: "holds", False: f"ABOVE {said['max_times']:g}", None: "no bound"}[each["holds"]]
        cells = (
            each["what"],
            each["connections"] or "all",
            f"{without_us:.1f}",
            f"{with_us:.1f}",
            path,
            verdict,
            per_s,
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
