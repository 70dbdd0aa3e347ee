"""make overload-back: ten times what a service can answer for a minute, and the way back to half of it.

1. serve a text cascade as it is published
2. find saturation, as `python -m loadtest overload` does, and the peak of full answers/s at and a little above it
3. send in one go: half of saturation for --back-s seconds, --times saturation for --seconds, half for --back-s again;
   every second note the memory of the API's processes
4. build/overload-back.json; the terminal shows what falls short

--client-core 1 gives the generator this core alone, and the service all others. Where they share their cores the
generator takes more of them under overload, and fewer full answers are what is left.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from benchmarks.breaking import TIMEOUT_S, Load, drive, send
from benchmarks.broken_site import workers_of
from benchmarks.command import end_with
from benchmarks.homes import make_home
from benchmarks.overload_back_result import Back, Phase, back_of, memory_of, returned_s, row_of, seconds_after, table
from benchmarks.published import Published
from benchmarks.served import payment_messages, pinned
from benchmarks.servers import ROOT, serve_line
from loadtest.machine import machine
from loadtest.measuring.contender import Subject
from loadtest.measuring.known import look
from loadtest.options import positive
from loadtest.overload import find_saturation
from loadtest.pages.files import write_json
from loadtest.traffic.arrivals import Due, arrivals
from loadtest.traffic.plan import Plan
from loadtest.traffic.process import Running, running
from loadtest.traffic.workload import text_samples
from loadtest.verdict.objective import Objective
from loadtest.verdict.steps import Saturation
from optimize.progress import console

GRACE_MS = 10.0
"""For the way there and back, while saturation is searched by the client's clock; `loadtest overload` gives as much."""
PEAK_TIMES, PEAK_S = (1.0, 1.5), 10.0
"""Where the peak is looked for: full answers are at times a little more frequent above saturation."""
HALF = 0.5
OUTPUT = Path("build") / "overload-back.json"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload_back", description="Overload, and back.")
    parser.add_argument("--text", default="demo-text", help="text cascade of the model store (demo-text)")
    parser.add_argument("--texts", type=Path, help="file of texts (payment messages, for the demo's cascade)")
    parser.add_argument("--budget-ms", type=positive, default=50.0, help="of each request (50)")
    parser.add_argument("--times", type=positive, default=10.0, help="overload, as a multiple of saturation (10)")
    parser.add_argument("--seconds", type=positive, default=60.0, help="of the overload (60)")
    parser.add_argument("--back-s", type=positive, default=30.0, help="seconds before it and after it (30)")
    parser.add_argument("--saturation", type=positive, help="requests/s; searched for without it")
    parser.add_argument("--client-core", type=int, help="core of the generator alone (all share all)")
    parser.add_argument("--out", type=Path, default=OUTPUT, help="the file of the figures (build/overload-back.json)")
    options = parser.parse_args()
    busy, store = os.getloadavg()[0], Published(options.text).store
    service_on, _ = pinned(options.client_core)
    if options.client_core is not None:
        psutil.Process().cpu_affinity([options.client_core])
    with tempfile.TemporaryDirectory(prefix="sieve-overload-") as name:
        texts = options.texts
        if texts is None and options.text == "demo-text":
            texts = payment_messages(Path(name) / "messages.csv")
        home = make_home(Path(name) / "home", store, options.text, threshold=None)
        variables = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
        line = [*service_on, *serve_line(f"text={options.text}", "image=")]
        with running(line, variables=variables, ready="/readyz", log=home / "log", folder=ROOT) as server:
            plan = Plan(url=server.url, texts=texts, budget_ms=options.budget_ms, timeout_s=TIMEOUT_S)
            given = options.saturation
            saturation = Saturation(per_s=given, found="given") if given else searched(plan)
            said = overloaded(server, plan, saturation, options.times, options.seconds, options.back_s)
    said |= {"machine": machine(), "load_average_before": round(busy, 1), "cascade": options.text}
    said |= {"saturation": saturation, "core": options.client_core}
    write_json(options.out, said)
    print(table(said))
    return 1 if said["short"] else 0


def searched(plan: Plan) -> Saturation:
    """The highest rate that the service at `plan.url` keeps up with. Raises UnreachableError and SaturationError."""
    known = look(plan)
    objective = Objective(limits_ms={"p99": (plan.budget_ms or 0.0) + GRACE_MS})
    return find_saturation(Subject(plan, objective, known, known.typical(plan.mix, plan.seed)))


def overloaded(
    server: Running, plan: Plan, saturation: Saturation, times: float, seconds: float, back_s: float
) -> Back:
    """Look for the peak, then send too much for so many `seconds`, and half of saturation before and after that."""
    budget_ms, peaks = plan.budget_ms or 0.0, []
    load = Load(server.url, text_samples(plan.texts, plan.budget_ms, plan.seed), saturation["per_s"])
    for number, peak_times in enumerate(PEAK_TIMES, start=1):
        console.print(f"{peak_times:g} times saturation, {peak_times * load.rate:.0f} requests/s")
        phase = Phase(f"at {peak_times:g} times saturation", peak_times, PEAK_S)
        replies, _, _ = drive(load._replace(rate=peak_times * load.rate), PEAK_S, number, lambda: None)
        peaks.append(row_of(phase, replies, budget_ms))
    phases = Phase("before", HALF, back_s), Phase("overload", times, seconds), Phase("after", HALF, back_s)
    console.print(f"{times:g} times saturation for {seconds:g} s, and half of it for {back_s:g} s before and after")
    begin_s, end_s, over_s = itertools.accumulate(phase.seconds for phase in phases)
    replies, start_s, samples = send(load, due(phases, load.rate, plan.seed), lambda: watched(server, over_s))
    edges = ((0.0, begin_s), (begin_s, end_s), (end_s, over_s))
    before, during, after = (
        row_of(phase, [reply for reply in replies if a <= reply.due_s < b], budget_ms)
        for phase, (a, b) in zip(phases, edges, strict=True)
    )
    at_s = returned_s([reply for reply in replies if reply.due_s >= begin_s], end_s)
    memory = memory_of([(moment_s - start_s, mb) for moment_s, mb in samples], begin_s, at_s)
    return back_of(peaks, (before, during, after), seconds_after(replies, at_s, over_s), memory, budget_ms)


def due(phases: Sequence[Phase], saturation_per_s: float, seed: int) -> Due:
    """When requests are due in phases that follow each other, in seconds from the start of the first."""
    parts, start_s = [], 0.0
    for number, phase in enumerate(phases):
        rate = phase.times * saturation_per_s
        parts.append(start_s + arrivals(f"poisson:{rate:.6g}", phase.seconds, seed + number))
        start_s += phase.seconds
    return np.concatenate(parts)


def watched(server: Running, seconds: float) -> list[tuple[float, float]]:
    """Memory (PSS) of the API's processes in MB every second, so many seconds long, with the time.monotonic of each."""
    end_s, samples = time.monotonic() + seconds, list[tuple[float, float]]()
    while (now_s := time.monotonic()) < end_s:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            samples.append((now_s, sum(worker.memory_full_info().pss for worker in workers_of(server)) / 1e6))
        time.sleep(1.0)
    return samples


if __name__ == "__main__":
    end_with(main)
