"""make compare: what each step gained, from PyTorch behind FastAPI to the cascade; all served at once, used in turn.

    python -m benchmarks.compare CASCADE [--texts FILE | --images FILE] [--rounds 3] [--litserve] [--only NAME]...

Needs the cascade in the model store and its build folder, whose teacher is the first contender. Writes
build/compare/CASCADE/compare.json and compare.html, and prints the table. `--litserve` adds LitServe's batching (for
texts, where it is installed); its worker polls a thousand times a second, which slows all others a little. `--only`
leaves out all contenders but those that it names.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.command import end_with
from benchmarks.contenders import ladder
from benchmarks.published import Published
from loadtest.compare import compare
from loadtest.measuring.contender import Contender
from loadtest.traffic.plan import Plan
from loadtest.traffic.workload import Mix
from loadtest.verdict.comparison import table
from loadtest.verdict.objective import Objective


def main() -> int:
    parser = argparse.ArgumentParser(description="What each step bought.")
    parser.add_argument("cascade")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit-ms", type=float, default=50.0, help="p99 of all that was asked")
    parser.add_argument("--only", action="append", metavar="NAME", help="a contender by its name; may be repeated")
    parser.add_argument("--litserve", action="store_true", help="LitServe too, where it is installed; texts only")
    options = parser.parse_args()
    published = Published(options.cascade)
    if options.litserve and published.kind == "image":
        parser.error("--litserve: its baseline takes texts only; leave it out for images")
    mix = Mix(image_share=1.0 if published.kind == "image" else 0.0)
    plan = Plan(url="", texts=options.texts, images=options.images, mix=mix, budget_ms=options.limit_ms)
    objective = Objective(limits_ms={"p99": options.limit_ms})
    with tempfile.TemporaryDirectory(prefix="sieve-compare-") as name:
        build = Path("build") / options.cascade
        contenders = ladder(published, build, Path(name), with_litserve=options.litserve)
        if options.only:
            contenders = chosen(contenders, options.only)
        folder = Path("build") / "compare" / options.cascade
        result = compare(contenders, plan, objective, rounds=options.rounds, folder=folder)
    print(table(result))
    print(f"{folder / 'compare.json'} has the figures, {folder / 'compare.html'} the picture")
    return 0


def chosen(contenders: Sequence[Contender], names: Sequence[str]) -> list[Contender]:
    """Those with these names, in their own order. SystemExit for a name that none has."""
    there = [contender.name for contender in contenders]
    if unknown := sorted(set(names) - set(there)):
        raise SystemExit(f"--only: must be the name of a contender, got {unknown[0]!r}; use one of {'; '.join(there)}")
    return [contender for contender in contenders if contender.name in names]


if __name__ == "__main__":
    end_with(main)
