"""make soak MINUTES=30: a long day of a served cascade, with bad input, restarts and new versions, and what it holds.

1. serve a text cascade, in which everything escalates, in two processes of the API and one of the expert
2. send --rate requests/s, 1 % of them bad input; end the expert every --restart-s seconds, whereupon it is started
   again; have another version served every --switch-s seconds
3. every --slice-s seconds note memory, files, threads and sockets of all processes, and p99 by the service's own times
4. build/soak.json and build/soak.svg; the terminal shows what grows. Ctrl-C ends it, and keeps what there is

--requests 2000000 lasts for so many requests instead, and compares memory after a tenth of them and at the end. The
cascade then escalates by its own operating point, so that thousands of requests/s can be sent.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import secrets
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from benchmarks.broken_site import WORKERS
from benchmarks.command import end_with
from benchmarks.homes import ALWAYS, add_version, latest, make_home
from benchmarks.published import Published
from benchmarks.servers import ROOT, child, serve_line
from benchmarks.soak_result import BAD, Slice, slice_of, soak_of, table, write_soak
from loadtest.machine import machine
from loadtest.options import count, positive
from loadtest.pages.live import Live
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import send_all
from loadtest.traffic.process import Running, running
from loadtest.traffic.sample import TEXT_PATH, Sample
from loadtest.traffic.workload import text_samples
from optimize.progress import console

BAD_SHARE = 0.01
BAD_BODIES = (
    b'{"text": ',
    b'{"text": 5}',
    b"\xff\xfe",
    b'{"text": "x", "budget_ms": NaN}',
    b"[]",
    b'{"text": "x", "y": 1}',
)
ANOTHER = "another"
OUTPUT = Path("build") / "soak.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What happens: how long it lasts, in seconds or requests, what is sent, and how often what changes."""

    seconds: float
    requests: int | None
    rate: float
    budget_ms: float
    slice_s: float
    restart_s: float
    switch_s: float

    @property
    def threshold(self) -> float | None:
        """At which everything escalates; None, the cascade's own, where many requests count."""
        return ALWAYS if self.requests is None else None


@dataclass(slots=True)
class Events:
    """What is done to the service while it is loaded, when it is due. Times are seconds from the start."""

    day: Day
    restart: Callable[[], object]
    switch: Callable[[], bool]
    restarts: int = 0
    switches: int = 0
    refused: int = 0
    _next_restart_s: float = field(init=False)
    _next_switch_s: float = field(init=False)

    def __post_init__(self) -> None:
        # Half a slice or more apart from a restart: without its expert no version can be checked.
        self._next_restart_s, self._next_switch_s = self.day.restart_s, self.day.switch_s + self.day.restart_s / 2

    def at(self, now_s: float) -> None:
        """Do what is due."""
        if now_s >= self._next_restart_s:
            self._next_restart_s += self.day.restart_s
            self.restarts += 1
            self.restart()
        if now_s >= self._next_switch_s:
            self._next_switch_s += self.day.switch_s
            self.switches += 1
            self.refused += not self.switch()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="A long day.")
    parser.add_argument("--text", default="demo-text", help="text cascade of the model store (demo-text)")
    parser.add_argument("--minutes", type=positive, default=30.0, help="how long it lasts (30)")
    parser.add_argument("--requests", type=count, help="last for so many requests instead")
    parser.add_argument("--rate", type=positive, default=100.0, help="requests/s (100)")
    parser.add_argument("--budget-ms", type=positive, default=100.0, help="of each request (100)")
    parser.add_argument("--slice-s", type=positive, default=10.0, help="how often it is looked (10)")
    parser.add_argument("--restart-s", type=positive, default=60.0, help="how often the expert is ended (60)")
    parser.add_argument("--switch-s", type=positive, default=300.0, help="how often another version is served (300)")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the file of the figures (build/soak.json)")
    options = parser.parse_args()
    day = Day(
        seconds=60 * options.minutes,
        requests=options.requests,
        **{name: getattr(options, name) for name in ("rate", "budget_ms", "slice_s", "restart_s", "switch_s")},
    )
    busy, store = os.getloadavg()[0], Published(options.text).store
    with tempfile.TemporaryDirectory(prefix="sieve-soak-") as name:
        slices, events, stopped = lived(store, options.text, Path(name), day)
    said = soak_of(slices, requests=day.requests)
    said |= {"machine": machine(), "load_average_before": round(busy, 1), "cascade": options.text, "rate": day.rate}
    said |= {"budget_ms": day.budget_ms, "restarts": events.restarts, "switches": events.switches, "stopped": stopped}
    said["short"] += [f"{events.refused} versions were refused"] * bool(events.refused)
    write_soak(options.out, said)
    print(table(said))
    return 1 if said["short"] else 0


def lived(models: Path, cascade: str, folder: Path, day: Day) -> tuple[list[Slice], Events, bool]:
    """Live through a day: its slices, what was done, and whether ctrl-C ended it early."""
    home, key = make_home(folder, models, cascade, threshold=day.threshold), secrets.token_hex(32)
    first = latest(home / "models", f"{cascade}-operating-point").name
    add_version(home, cascade, ANOTHER)
    variables = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "SIEVE_WORKERS": str(WORKERS)}
    line = serve_line(f"text={cascade}", "image=")
    slices: list[Slice] = []
    with running(
        line, variables={**variables, "SIEVE_ADMIN_KEY": key}, ready="/readyz", log=home / "log", folder=ROOT
    ) as server:
        events = Events(
            day,
            restart=lambda: restart(server),
            switch=lambda: switch(server, cascade, ANOTHER if events.switches % 2 else first, key),
        )
        try:
            for each in lives(server, day, events):
                slices.append(each)
                if len(slices) % 6 == 0 and not console.is_terminal:
                    console.print(
                        f"{each['at_s'] / 60:.0f} minutes, {sum(one['requests'] for one in slices):,} requests"
                    )
        except KeyboardInterrupt:
            return slices, events, True
    return slices, events, False


def lives(server: Running, day: Day, events: Events) -> Iterator[Slice]:
    """Send a slice of the load after the other, until the day is over."""
    samples = text_samples(None, day.budget_ms, seed=1)
    total = day.requests or round(day.seconds * day.rate)
    begin_s, sent, number = time.monotonic(), 0, 0
    with Live("a long day", total) as live:
        while sent < total if day.requests else time.monotonic() - begin_s < day.seconds:
            number += 1
            due_s = arrivals(f"poisson:{day.rate:g}", day.slice_s, seed=number)
            with ThreadPoolExecutor(1) as beside:
                done = beside.submit(events.at, time.monotonic() - begin_s)
                replies = send_all(
                    server.url, mixed(samples, len(due_s), number), due_s, timeout_s=5.0, observe=live.observe
                )
                done.result()
            sent += len(replies)
            yield slice_of(replies, server.process.pid, time.monotonic() - begin_s)


def mixed(samples: Sequence[Sample], size: int, seed: int) -> list[Sample]:
    """So many samples, drawn by `seed`, BAD_SHARE of them bad input."""
    rng = np.random.default_rng(seed)
    bad = [Sample(TEXT_PATH, body, "application/json", BAD) for body in BAD_BODIES]
    kinds = rng.random(size) < BAD_SHARE
    return [
        bad[int(rng.integers(len(bad)))] if is_bad else samples[int(rng.integers(len(samples)))] for is_bad in kinds
    ]


def restart(server: Running) -> None:
    """End the expert's process, which its server starts again; nothing where it has just ended."""
    with contextlib.suppress(ValueError, psutil.NoSuchProcess):
        child(server, "--service-name TextExpert").terminate()


def switch(server: Running, cascade: str, version: str, key: str) -> bool:
    """Have a version served; whether it was."""
    request = urllib.request.Request(
        f"{server.url}/admin/models/{cascade}",
        data=json.dumps({"version": version}).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as response:  # nosec B310 # an address of ours
            return bool(response.status == 200)
    except urllib.error.HTTPError as error:
        console.print(f"version {version} was refused: {error.read().decode(errors='replace')[:500]}")
        return False


if __name__ == "__main__":
    end_with(main)
