"""make zipf: answers/s where texts come again as often as words do, with and without kept answers: build/zipf.json.

1. serve a cascade twice, as it is published: without and with `cache_mb`
2. a closed loop of --connections on each in turn; both replay the same texts, each drawn from 10,000 by Zipf's law
   with the exponent 1.0, so that the most frequent one is every tenth request
3. the kept answers stay from round to round, as they would: the first round begins without any

The generator shares the cores and takes a larger share of them the faster a service answers, so the gain of a service
with clients elsewhere is larger.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from benchmarks.command import end_with
from benchmarks.homes import make_home
from benchmarks.published import Published
from benchmarks.servers import page, sieve
from loadtest.machine import Machine, machine
from loadtest.options import count, positive
from loadtest.pages.files import write_json
from loadtest.traffic.client import closed_loop
from loadtest.traffic.process import Running
from loadtest.traffic.sample import OWN, Sample, text_sample
from loadtest.verdict.comparison import Ratio, Spread, ratio, spread
from optimize.data.payments import generate
from optimize.progress import console

TEXTS, EXPONENT, SEED = 10_000, 1.0, 23
DRAWN = 200_000
"""Texts of a round; a loop that is quicker begins again."""
CACHE_MB = 64
FLUSHED_S = 1.0
"""After so long the service's counts are on its page."""
BUDGET_MS = 1_000.0
OUTPUT = Path("build") / "zipf.json"


class Row(TypedDict):
    """One service: its answers/s of the rounds, and the shares of them that were kept, or joined one in flight."""

    cache_mb: int
    rounds: list[float]
    per_s: Spread
    kept_shares: list[float]
    joined_shares: list[float]
    times_without: Ratio | None


class Zipf(TypedDict):
    """build/zipf.json."""

    machine: Machine
    load_average_before: float
    cascade: str
    texts: int
    exponent: float
    connections: int
    seconds: float
    rows: list[Row]


class Loop(TypedDict):
    """One closed loop, by the generator's clock and the service's counts."""

    per_s: float
    kept_share: float
    joined_share: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zipf", description="Equal requests, by Zipf's law")
    parser.add_argument("cascade", nargs="?", default="demo-text", help="a cascade of texts (demo-text)")
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--seconds", type=positive, default=10.0, help="of each closed loop (10)")
    parser.add_argument("--connections", type=count, default=16)
    options = parser.parse_args()
    busy, published = os.getloadavg()[0], Published(options.cascade)
    with tempfile.TemporaryDirectory(prefix="sieve-zipf-") as name:
        threshold, folder = published.point.threshold, Path(name)
        homes = [make_home(folder / home, published.store, options.cascade, threshold=threshold) for home in "ab"]
        settings = folder / "settings.toml"
        settings.write_text(f"workers = 1\ncache_mb = {CACHE_MB}\n", encoding="utf-8")
        with (
            sieve(homes[0], options.cascade) as without,
            sieve(homes[1], options.cascade, settings=settings) as keeping,
        ):
            rows = measured({0: without, CACHE_MB: keeping}, options.rounds, options.seconds, options.connections)
    said: Zipf = {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "cascade": options.cascade,
        "texts": TEXTS,
        "exponent": EXPONENT,
        "connections": options.connections,
        "seconds": options.seconds,
        "rows": rows,
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, said)
    print(table(said))
    return 0


def drawn(texts: Sequence[str], size: int, exponent: float, seed: int) -> list[str]:
    """`size` texts, of which the one of rank k comes 1 / k ** exponent times as often as the first."""
    weights = [(1 + place) ** -exponent for place in range(len(texts))]
    return random.Random(seed).choices(texts, weights, k=size)  # nosec B311 # no secret


def measured(servers: dict[int, Running], rounds: int, seconds: float, connections: int) -> list[Row]:
    """A row for each service, by its `cache_mb`, the one without first; in every other round it comes last."""
    texts = [text for text, _ in generate(TEXTS, seed=SEED)]
    found: dict[int, list[Loop]] = {cache_mb: [] for cache_mb in servers}
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}")
        again = drawn(texts, DRAWN, EXPONENT, seed=SEED + number)
        samples = [text_sample({"text": text}, OWN, BUDGET_MS) for text in again]
        for cache_mb in list(servers)[:: -1 if number % 2 else 1]:
            found[cache_mb].append(loop(servers[cache_mb], samples, seconds, connections))
    per_s = {cache_mb: [each["per_s"] for each in loops] for cache_mb, loops in found.items()}
    first = next(iter(servers))
    return [
        {
            "cache_mb": cache_mb,
            "rounds": per_s[cache_mb],
            "per_s": spread(per_s[cache_mb]),
            "kept_shares": [each["kept_share"] for each in loops],
            "joined_shares": [each["joined_share"] for each in loops],
            "times_without": None if cache_mb == first else ratio(per_s[cache_mb], per_s[first]),
        }
        for cache_mb, loops in found.items()
    ]


def loop(server: Running, samples: Sequence[Sample], seconds: float, connections: int) -> Loop:
    """One closed loop."""
    before = counts(page(server.url))
    answered, took_s = closed_loop(server.url, samples, connections=connections, seconds=seconds)
    time.sleep(FLUSHED_S)
    ran = {name: after - before[name] for name, after in counts(page(server.url)).items()}
    items = max(1.0, ran["answers"])
    return {
        "per_s": round(answered / took_s, 1),
        "kept_share": round(ran["kept"] / items, 4),
        "joined_share": round(ran["joined"] / items, 4),
    }


def counts(metrics: str) -> dict[str, float]:
    """The items that a service has answered, and how many of these answers were kept, or joined one in flight."""
    found = dict.fromkeys(("answers", "kept", "joined"), 0.0)
    for name, labels, value in re.findall(r"^sieve_(answers|equal)_total\{(.*)\} (\S+)$", metrics, re.MULTILINE):
        how = re.search(r'how="(\w+)"', labels)
        found[how[1] if how else name] += float(value)
    return found


def table(said: Zipf) -> str:
    """Medians with the lowest and the highest of the rounds, in Markdown."""
    lines = [
        "| `cache_mb` | answers/s (lowest to highest) | times without | kept, first | kept, last | joined |",
        "| ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in said["rows"]:
        per_s, times = row["per_s"], row["times_without"]
        cells = [str(row["cache_mb"])]
        cells += [f"{per_s['median']:,.0f} ({per_s['lowest']:,.0f} to {per_s['highest']:,.0f})"]
        cells += ["" if times is None else f"{times['median']:.2f} ({times['low']:.2f} to {times['high']:.2f})"]
        cells += [f"{row['kept_shares'][place]:.1%}" for place in (0, -1)]
        cells += [f"{spread(row['joined_shares'])['median']:.1%}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
