"""The generator held against a server that does nothing: can it keep its schedule at this rate?"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from loadtest.pages.report import machine, write_json
from loadtest.run import MAX_LAG_MS
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import send_all
from loadtest.traffic.process import running
from loadtest.traffic.workload import Mix, draw, text_samples
from loadtest.verdict.figures import percentile


def check_generator(rate: float, seconds: float, folder: Path) -> bool:
    """Drive the trivial server in one process beside this one; whether all was sent in time and answered.

    Writes check.json with the rate that was reached, the lag and the share of a core that the generator took.
    """
    line = [sys.executable, "-m", "loadtest.traffic.trivial", "{port}"]
    root = Path(__file__).parent.parent
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        with running(line, ready="/", log=log, folder=root) as server:
            due_s = arrivals(f"poisson:{rate}", seconds, seed=1)
            samples = draw(text_samples(None, 50.0, 1), Mix(), len(due_s), seed=1)
            cpu_s, begin_s = time.process_time(), time.monotonic()
            outcomes = send_all(server.url, samples, due_s)
            took_s, used_s = time.monotonic() - begin_s, time.process_time() - cpu_s
    lag_ms = percentile([outcome.lag_ms for outcome in outcomes], 0.99)
    answered = sum(outcome.answered for outcome in outcomes)
    holds = lag_ms <= MAX_LAG_MS and answered == len(due_s)
    result = {
        "rate_per_s": rate,
        "reached_per_s": round(answered / took_s, 1),
        "requests": len(due_s),
        "answered": answered,
        "lag_p99_ms": round(lag_ms, 3),
        "latency_p50_ms": round(percentile([o.latency_ms for o in outcomes], 0.5), 3),
        "core_share": round(used_s / took_s, 3),
        "holds": holds,
        "machine": machine(),
    }
    write_json(folder / "check.json", result)
    print(
        f"{answered:,} of {len(due_s):,} answered, {result['reached_per_s']:,} requests/s; p99 of the lag "
        f"{lag_ms:.2f} ms ({MAX_LAG_MS:g} allowed); {result['core_share']:.0%} of a core: "
        f"{'the generator keeps its schedule' if holds else 'TOO MUCH for this generator on this machine'}"
    )
    return holds
