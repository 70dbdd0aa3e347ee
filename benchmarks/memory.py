"""make memory: what a bundle holds at rest, process by process: build/memory.json.

1. serve two cascades as they are published: the server that watches, one API process, two experts
2. wait until the experts are warm and nothing happens
3. read what the kernel says of each process (RSS, and PSS, which parts the memory that several processes share)

Other processes that use the same libraries take a part of the PSS of these, so the figures are those of a machine that
serves nothing else. RSS counts what is shared once for each process.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TypedDict

from benchmarks.command import end_with
from benchmarks.held import held
from benchmarks.homes import make_home
from benchmarks.published import Published
from benchmarks.servers import sieve
from loadtest.machine import Machine, machine
from loadtest.pages.files import write_json

REST_S = 5.0
"""After so long nothing of a start is left: the experts are warm, and what it took is given back."""
AT_MOST_MB = 300.0
OUTPUT = Path("build") / "memory.json"


class Row(TypedDict):
    """A process, by the name of its service; `server` is the one that watches over the others."""

    process: str
    rss_mb: float
    pss_mb: float


class Memory(TypedDict):
    """build/memory.json."""

    machine: Machine
    load_average_before: float
    cascades: list[str]
    rows: list[Row]
    rss_mb: float
    pss_mb: float
    at_most_mb: float
    holds: bool


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description="Memory of a bundle at rest")
    parser.add_argument("--text", default="demo-text", help="a cascade of texts (demo-text)")
    parser.add_argument("--image", default="demo-image", help="a cascade of images (demo-image)")
    options = parser.parse_args()
    busy, cascades = os.getloadavg()[0], [options.text, options.image]
    with tempfile.TemporaryDirectory(prefix="sieve-memory-") as name:
        home = Path(name)
        for cascade in cascades:
            make_home(home, Published(cascade).store, cascade, threshold=None)
        with sieve(home, options.text, image=options.image) as server:
            time.sleep(REST_S)
            rows = measured(server.process.pid)
    said = memory(cascades, busy, rows)
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, said)
    print(table(said))
    return 0


def measured(server: int) -> list[Row]:
    """A row for each process of the server with this process id."""
    return [
        {"process": kind, "rss_mb": round(each["rss_mb"], 1), "pss_mb": round(each["pss_mb"], 1)}
        for kind, each in held(server).items()
    ]


def memory(cascades: list[str], busy: float, rows: list[Row]) -> Memory:
    """The figures with their sums and their bound."""
    pss_mb = sum(row["pss_mb"] for row in rows)
    return {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "cascades": cascades,
        "rows": rows,
        "rss_mb": round(sum(row["rss_mb"] for row in rows), 1),
        "pss_mb": round(pss_mb, 1),
        "at_most_mb": AT_MOST_MB,
        "holds": pss_mb <= AT_MOST_MB,
    }


def table(said: Memory) -> str:
    """Each process and their sum, in Markdown; the sum is bold where it is more than asked."""
    lines = ["| process | RSS, MB | PSS, MB |", "| --- | ---: | ---: |"]
    lines += [f"| {row['process']} | {row['rss_mb']:.0f} | {row['pss_mb']:.0f} |" for row in said["rows"]]
    total = f"{said['pss_mb']:.0f}" if said["holds"] else f"**{said['pss_mb']:.0f}**"
    asked = f"all, at most {said['at_most_mb']:.0f} MB of PSS asked"
    return "\n".join([*lines, f"| {asked} | {said['rss_mb']:.0f} | {total} |"])


if __name__ == "__main__":
    end_with(main)
