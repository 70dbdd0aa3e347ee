"""make capacity: measure one replica of a published cascade, say how many are needed, and check the simulation.

python -m benchmarks.capacity CASCADE --rate RATE [--texts FILE] [--limit-ms 50] [--check-s 15]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.command import end_with
from benchmarks.contenders import sieve
from benchmarks.homes import make_home
from benchmarks.published import Published
from loadtest.capacity import answer, say
from loadtest.traffic.plan import Plan
from loadtest.verdict.objective import Objective


def main() -> int:
    parser = argparse.ArgumentParser(description="How many replicas.")
    parser.add_argument("cascade")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--limit-ms", type=float, default=50.0)
    parser.add_argument("--check-s", type=float, default=15.0)
    options = parser.parse_args()
    published = Published(options.cascade)
    plan = Plan(url="", texts=options.texts, budget_ms=options.limit_ms)
    with tempfile.TemporaryDirectory(prefix="sieve-capacity-") as name:
        home = make_home(Path(name) / "home", published.store, published.name, threshold=published.point.threshold)
        contender = sieve("Sieve", home, published)
        with contender.served(plan, Objective(), Path(name) / "log") as subject:
            result = answer(
                subject.plan,
                rate_per_s=options.rate,
                limit_ms=options.limit_ms,
                workers=1,
                share=None,
                folder=Path("build") / "capacity" / options.cascade,
                check_s=options.check_s,
            )
    say(result)
    return 0 if all(row["holds"] for row in result["check"]) else 1


if __name__ == "__main__":
    end_with(main)
