"""The verb `check`: can the generator keep its schedule at a rate, against a server that does no work?"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from loadtest.machine import machine
from loadtest.pages.files import write_json
from loadtest.traffic.arrivals import arrivals
from loadtest.traffic.client import send_all
from loadtest.traffic.plan import MAX_LAG_MS
from loadtest.traffic.process import running
from loadtest.traffic.workload import Mix, draw, text_samples
from loadtest.verdict.percentiles import percentile


def check_generator(rate: float, seconds: float, folder: Path) -> bool:
    """Drive the trivial server, in a process of its own, at `rate` requests/s for `seconds`.

    Whether all requests left in time and were answered. Writes check.json with the rate that was reached, the lag, and
    the generator's share of a core. Raises NotStartedError.
    """
    line = [sys.executable, "-m", "loadtest.traffic.trivial", "{port}"]
    root = Path(__file__).parent.parent
    with (
        tempfile.TemporaryDirectory() as name,
        running(line, ready="/", log=Path(name) / "log", folder=root) as server,
    ):
        due_s = arrivals(f"poisson:{rate}", seconds, seed=1)
        samples = draw(text_samples(None, 50.0, 1), Mix(), len(due_s), seed=1)
        cpu_s, begin_s = time.process_time(), time.monotonic()
        replies = send_all(server.url, samples, due_s)
        took_s, used_s = time.monotonic() - begin_s, time.process_time() - cpu_s
    lag_ms = percentile([reply.lag_ms for reply in replies], 0.99)
    answered = sum(reply.answered for reply in replies)
    holds = lag_ms <= MAX_LAG_MS and answered == len(due_s)
    reached_per_s, core_share = round(answered / took_s, 1), round(used_s / took_s, 3)
    result = {
        "rate_per_s": rate,
        "reached_per_s": reached_per_s,
        "requests": len(due_s),
        "answered": answered,
        "lag_p99_ms": round(lag_ms, 3),
        "latency_p50_ms": round(percentile([reply.latency_ms for reply in replies], 0.5), 3),
        "core_share": core_share,
        "holds": holds,
        "machine": machine(),
    }
    write_json(folder / "check.json", result)
    print(
        f"{answered:,} of {len(due_s):,} answered, {reached_per_s:,} requests/s; p99 of the lag "
        f"{lag_ms:.2f} ms ({MAX_LAG_MS:g} allowed); {core_share:.0%} of a core: "
        f"{'the generator keeps its schedule' if holds else 'TOO MUCH for this generator on this machine'}"
    )
    return holds
