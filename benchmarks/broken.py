"""make broken: break each part of a served cascade under load, mend it, and see what becomes of the requests.

1. serve a text cascade with a threshold at which everything escalates: an API of two processes, its expert apart
2. break each part --times times under --rate requests/s; each comes back after ten seconds, or is started again
3. end the service under load in each way, and publish on a full disk
4. build/broken.json holds all of it; the terminal shows the tables and what falls short

Bounds: no request fails, but those in the hands of a process of the API that is killed; p99 within the budget by the
service's own times from the second second on; full answers again within RECOVERY_S of the part's return; an end within
END_S.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from benchmarks.breaking import Load, Outcome, Part, break_once
from benchmarks.broken_ends import ENDS, Ended, end_once, publish_on_full_disks
from benchmarks.broken_site import Site, api, parts, site, slow_one, three_experts
from benchmarks.command import end_with
from benchmarks.homes import NEVER, make_home
from benchmarks.published import Published
from loadtest.machine import Machine, machine
from loadtest.options import count, positive
from loadtest.pages.files import write_json
from loadtest.traffic.workload import text_samples
from optimize.progress import console

RECOVERY_S, END_S = 5.0, 10.0
LEAST_FULL_SHARE = 0.5
"""Of the answers before a part breaks; with fewer, nothing can be said of what becomes of them."""
OUTPUT = Path("build") / "broken.json"


class PartRow(TypedDict):
    """A part that broke, once or more often. `takes_along`: whether requests in its hands may fail with it."""

    what: str
    takes_along: bool
    outcomes: list[Outcome]


class EndRow(TypedDict):
    """A way to end the service."""

    what: str
    ends: list[Ended]


class Broken(TypedDict):
    """build/broken.json. `short`: a sentence for each bound that was not kept.

    `publishings`: those on a disk without room; `traces`: how many of them left anything behind, or did not fail.
    """

    machine: Machine
    load_average_before: float
    cascade: str
    rate: float
    budget_ms: float
    parts: list[PartRow]
    ends: list[EndRow]
    publishings: int
    traces: int
    short: list[str]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.broken", description="Break, mend, look.")
    parser.add_argument("--text", default="demo-text", help="text cascade of the model store (demo-text)")
    parser.add_argument("--times", type=count, default=3, help="how often each part breaks (3)")
    parser.add_argument("--rate", type=positive, default=40.0, help="requests/s (40)")
    parser.add_argument("--budget-ms", type=positive, default=100.0, help="of each request (100)")
    options = parser.parse_args()
    busy, store = os.getloadavg()[0], Published(options.text).store
    with tempfile.TemporaryDirectory(prefix="sieve-broken-") as name:
        rows, ends = measured(
            store, options.text, Path(name), options.times, Load("", [], options.rate), options.budget_ms
        )
        full = make_home(Path(name) / "full", store, options.text, threshold=NEVER) / "models"
        publishings, traces = publish_on_full_disks(full, options.text)
    short = [sentence for row in rows for sentence in short_of(row, options.budget_ms)]
    short += [sentence for end in ends for sentence in late(end)]
    short += ["a publishing on a full disk left a trace"] * bool(traces)
    said: Broken = {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "cascade": options.text,
        "rate": options.rate,
        "budget_ms": options.budget_ms,
        "parts": rows,
        "ends": ends,
        "publishings": publishings,
        "traces": traces,
        "short": short,
    }
    write_json(OUTPUT, said)
    print(tables(said))
    return 1 if short else 0


def measured(
    models: Path, cascade: str, folder: Path, times: int, load: Load, budget_ms: float
) -> tuple[list[PartRow], list[EndRow]]:
    """A row for each part that breaks and for each end, from a site served in `folder`; `load` lacks URL and texts."""
    load = load._replace(samples=text_samples(None, budget_ms, seed=1))
    with site(models, cascade, folder) as there:
        rows = list(broken(parts(there, folder), times, load._replace(url=there.api.url)))
        with three_experts(there, folder) as (server, ways):
            rows += broken([slow_one(ways)], times, load._replace(url=server.url))
        return rows, list(ended(there, folder, times, load))


def broken(breaking: Sequence[Part], times: int, load: Load) -> Iterator[PartRow]:
    """Break each part so often."""
    for part in breaking:
        outcomes = []
        for number in range(times):
            console.print(f"{part.what}, {number + 1} of {times}")
            outcomes.append(break_once(load, part, seed=number + 1))
        yield {"what": part.what, "takes_along": part.takes_along, "outcomes": outcomes}


def ended(there: Site, folder: Path, times: int, load: Load) -> Iterator[EndRow]:
    """End an API in each way so often, each time another one in front of the same expert."""
    for what, by in ENDS.items():
        ends = []
        for number in range(times):
            console.print(f"{what}, {number + 1} of {times}")
            with api(there.home, there.cascade, folder, there.way.url) as server:
                ends.append(end_once(load._replace(url=server.url), server, by, seed=number + 1))
        yield {"what": what, "ends": ends}


def short_of(row: PartRow, budget_ms: float) -> list[str]:
    """A sentence for each bound that a part broke."""
    what, outcomes = row["what"], row["outcomes"]
    said = []
    if any(each["full_share_before"] < LEAST_FULL_SHARE for each in outcomes):
        said.append(f"{what}: fewer than {LEAST_FULL_SHARE:.0%} full answers before it, so this machine was too busy")
    failed = sum(each["lost"] if row["takes_along"] else each["failed"] for each in outcomes)
    if failed:
        said.append(f"{what}: {failed} requests failed that it did not have in hand")
    p99_ms = highest([each["p99_ms"][1] for each in outcomes])
    if p99_ms is not None and p99_ms > budget_ms:
        said.append(f"{what}: p99 was {p99_ms:.1f} ms after the first second, more than the budget")
    recovered_s = [each["recovered_s"] for each in outcomes]
    if None in recovered_s or (highest(recovered_s) or 0.0) > RECOVERY_S:
        said.append(f"{what}: full answers took longer than {RECOVERY_S:g} s to come back")
    return said


def late(row: EndRow) -> list[str]:
    """A sentence for each bound that an end broke."""
    said = []
    if failed := sum(each["failed"] for each in row["ends"]):
        said.append(f"{row['what']}: {failed} requests that were accepted got no answer")
    took_s = [each["took_s"] for each in row["ends"]]
    if None in took_s or (highest(took_s) or 0.0) > END_S:
        said.append(f"{row['what']}: a process lived on for more than {END_S:g} s")
    return said


def highest(values: Sequence[float | None]) -> float | None:
    """The highest of those that are known."""
    return max((value for value in values if value is not None), default=None)


def tables(said: Broken) -> str:
    """What broke, how often, and what happened, in Markdown."""
    lines = [
        "| what broke | times | requests | failed | degraded meanwhile | p99 before, meanwhile, after | full again |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in said["parts"]:
        outcomes = row["outcomes"]
        failed = f"{sum(each['failed'] for each in outcomes)}"
        if row["takes_along"]:
            failed += f" of {sum(each['in_hands'] for each in outcomes)} in its hands"
        p99_ms = [highest([each["p99_ms"][phase] for each in outcomes]) for phase in range(3)]
        recovered_s = [each["recovered_s"] for each in outcomes]
        cells = [row["what"], str(len(outcomes)), f"{sum(each['requests'] for each in outcomes):,}", failed]
        cells += [f"{max(each['degraded_share'] for each in outcomes):.0%}"]
        cells += [", ".join("-" if ms is None else f"{ms:.0f}" for ms in p99_ms) + " ms"]
        cells += ["never" if None in recovered_s else f"{highest(recovered_s):.1f} s"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| how it ended | times | accepted | without an answer | ended after |"]
    lines += ["| --- | ---: | ---: | ---: | ---: |"]
    for end in said["ends"]:
        took_s = [each["took_s"] for each in end["ends"]]
        cells = [end["what"], str(len(end["ends"])), f"{sum(each['accepted'] for each in end['ends']):,}"]
        cells += [str(sum(each["failed"] for each in end["ends"]))]
        cells += ["never" if None in took_s else f"{highest(took_s):.1f} s"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", f"{said['publishings']} publishings on a full disk left {said['traces'] or 'no'} traces."]
    lines += ["", *(f"- Falls short: {sentence}." for sentence in said["short"])]
    return "\n".join(lines).rstrip()


if __name__ == "__main__":
    end_with(main)
