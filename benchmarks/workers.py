"""make workers: what a second API process gives where the cores are there: build/workers.json.

    python -m benchmarks.workers [--core CORE] [--rounds 7] [--seconds 4]

1. serve a cascade with empty models, of which nothing escalates, in one API process and in two
2. closed loops of 32 connections on each in turn, with wrk; the kernel tells what processor time wrk took
3. `--core` gives wrk this core alone and the services the others (taskset), which takes three cores or more

Where wrk shares the cores of the services, its share is subtracted: two processes that had 1.4 of 2 cores for
themselves are said to reach 2 / 1.4 of what they did. `times` is the ratio that has it so; `times_seen` is the plain
one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import TypedDict

import psutil

from benchmarks.command import end_with
from benchmarks.homes import NEVER, make_home
from benchmarks.published import Published
from benchmarks.served import pinned
from benchmarks.servers import sieve
from benchmarks.texts import TOKENS, text_of
from loadtest.machine import Machine, machine
from loadtest.options import count, positive
from loadtest.pages.files import write_json
from loadtest.traffic.process import Running
from loadtest.traffic.wrk import closed_loop
from loadtest.verdict.comparison import Ratio, Spread, ratio, spread
from optimize.progress import console

CASCADE, CONNECTIONS, WORKERS = "demo-text", 32, (1, 2)
AT_LEAST = 1.7
OUTPUT = Path("build") / "workers.json"


class Loop(TypedDict):
    """One closed loop: answers/s, and the cores that the client kept busy of those that it shared with the service."""

    per_s: float
    client_cores: float


class Row(TypedDict):
    """A service with so many API processes. `free_per_s`: what it would reach without the client on its cores."""

    workers: int
    rounds: list[Loop]
    per_s: Spread
    free_per_s: Spread


class Workers(TypedDict):
    """build/workers.json. `cores`: those that a service may use; `client_core`: the one of the client alone, if any."""

    machine: Machine
    load_average_before: float
    cores: int
    client_core: int | None
    seconds: float
    rows: list[Row]
    times: Ratio | None
    times_seen: Ratio | None
    at_least: float
    holds: bool


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description="A second API process")
    parser.add_argument("--core", type=int, help="core of the client alone (all share all)")
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--seconds", type=positive, default=4.0, help="of each closed loop (4)")
    options = parser.parse_args()
    busy, published = os.getloadavg()[0], Published(CASCADE)
    own = set(psutil.Process().cpu_affinity())
    service_on, _ = pinned(options.core)
    cores = len(own - {options.core})
    body = {"text": text_of(TOKENS, published.expert), "budget_ms": 1000}
    with tempfile.TemporaryDirectory(prefix="sieve-workers-") as name, contextlib.ExitStack() as stack:
        servers = {}
        for workers in WORKERS:
            home = make_home(
                Path(name) / str(workers), published.store, CASCADE, threshold=NEVER, empty=("screen", "expert")
            )
            server = sieve(home, CASCADE, workers=workers, before=tuple(service_on))
            servers[workers] = stack.enter_context(server)
        if options.core is not None:
            os.sched_setaffinity(0, {options.core})  # wrk inherits it
        rounds = measured(servers, body, options.rounds, options.seconds, apart=options.core is not None)
    said = summary(rounds, cores)
    whole: Workers = {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "cores": cores,
        "client_core": options.core,
        "seconds": options.seconds,
        **said,
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, whole)
    print(table(whole))
    return 0


def measured(
    servers: dict[int, Running], body: dict[str, object], rounds: int, seconds: float, *, apart: bool
) -> dict[int, list[Loop]]:
    """The loops on each server, in turn; `apart`: the client has a core of its own."""
    found: dict[int, list[Loop]] = {workers: [] for workers in servers}
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}")
        for workers in list(servers)[:: -1 if number % 2 else 1]:
            begin_s, before_s = time.monotonic(), _children_s()
            loop = closed_loop(f"{servers[workers].url}/classify_text", body, connections=CONNECTIONS, seconds=seconds)
            took_s = time.monotonic() - begin_s
            client = 0.0 if apart else (_children_s() - before_s) / took_s
            found[workers].append({"per_s": round(loop["per_s"], 1), "client_cores": round(client, 3)})
    return found


def _children_s() -> float:
    """Processor seconds of the children of this process that have ended, which wrk is alone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Summary(TypedDict):
    """What the loops say."""

    rows: list[Row]
    times: Ratio | None
    times_seen: Ratio | None
    at_least: float
    holds: bool


def summary(found: dict[int, list[Loop]], cores: int) -> Summary:
    """Rates, their ratio with the client's share of `cores` subtracted, and the plain one."""
    seen = {workers: [loop["per_s"] for loop in loops] for workers, loops in found.items()}
    free = {workers: [freed(loop, workers, cores) for loop in loops] for workers, loops in found.items()}
    one, two = WORKERS
    times = ratio(free[two], free[one])
    return {
        "rows": [
            {"workers": each, "rounds": found[each], "per_s": spread(seen[each]), "free_per_s": spread(free[each])}
            for each in WORKERS
        ],
        "times": times,
        "times_seen": ratio(seen[two], seen[one]),
        "at_least": AT_LEAST,
        "holds": times is not None and times["median"] >= AT_LEAST,
    }


def freed(loop: Loop, workers: int, cores: int) -> float:
    """What `workers` processes would reach on so many cores without the client: more where it kept them from a core."""
    had = min(workers, cores - loop["client_cores"])
    return loop["per_s"] * min(workers, cores) / had


def table(said: Workers) -> str:
    """The rates of both, and their ratio, in Markdown; the ratio is bold where it is less than asked."""
    lines = [
        "| API processes | answers/s (lowest to highest) | without the client on its cores |",
        "| ---: | ---: | ---: |",
    ]
    for row in said["rows"]:
        both = (row["per_s"], row["free_per_s"])
        cells = (f"{each['median']:,.0f} ({each['lowest']:,.0f} to {each['highest']:,.0f})" for each in both)
        lines.append(f"| {row['workers']} | {' | '.join(cells)} |")
    seen, times = (f"{each['median']:.2f}" if each else "none" for each in (said["times_seen"], said["times"]))
    found = times if said["holds"] else f"**{times}**"
    return "\n".join([*lines, f"| times, at least {said['at_least']:g} asked | {seen} | {found} |"])


if __name__ == "__main__":
    end_with(main)
