"""make protocols: our own addresses against the Open Inference Protocol in JSON, with binary tensors, and over gRPC.

1. serve both demo cascades in one API process, with thresholds at which nothing escalates
2. a closed loop of --connections for each way to send a text of 32 tokens, and an image, in alternating rounds:
   answers/s, and the processor time that the API process spends on one
3. the same text and images in each way, one by one: bytes, and microseconds of serialization at both ends
4. build/protocols.json holds all of it; the terminal shows both tables, and whether gRPC keeps its bounds

The generator shares the cores, and its own work differs: grpcio's client takes more time than that of HTTP. What a way
costs the service alone is its processor time.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from benchmarks.command import end_with
from benchmarks.homes import NEVER, make_home
from benchmarks.published import Published
from benchmarks.servers import child, sieve
from benchmarks.texts import TOKENS, text_of
from loadtest.machine import Machine, machine
from loadtest.measuring.payloads import Items, compare_payloads, make, ways
from loadtest.options import count, positive
from loadtest.pages.files import write_json
from loadtest.traffic.client import closed_loop
from loadtest.traffic.process import Running, free_port
from loadtest.traffic.sample import Sample
from loadtest.traffic.workload import image_files
from loadtest.verdict import payloads
from loadtest.verdict.comparison import Ratio, Spread, ratio, spread
from loadtest.verdict.payloads import Kind, PayloadRow, name_of
from optimize.progress import console

TEXT, IMAGE = "demo-text", "demo-image"
REST: dict[Kind, str] = {"text": "json", "image": "raw"}
"""Our own addresses' way to send an item, which the others are held against."""
LEAST: dict[Kind, float] = {"text": 0.9, "image": 1.0}
"""What gRPC should reach, times REST."""
ITEMS, PAYLOAD_ROUNDS, WARM_UP_S = 10, 10, 1.0
OUTPUT = Path("build") / "protocols.json"


class Row(TypedDict):
    """One way to send a kind of item: answers/s of the rounds, and how many times those of REST they are.

    `cpu_us`: what the API process spends on an answer, in microseconds of processor time.
    """

    item: Kind
    encoding: str
    rounds: list[float]
    per_s: Spread
    times_rest: Ratio | None
    cpu_us: Spread


class Protocols(TypedDict):
    """build/protocols.json."""

    machine: Machine
    load_average_before: float
    connections: int
    seconds: float
    images: str | None
    rows: list[Row]
    payloads: list[PayloadRow]


class Loop(TypedDict):
    """One closed loop."""

    per_s: float
    cpu_us: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.protocols", description="REST against gRPC")
    parser.add_argument("--images", type=Path, help="a folder or tar of JPEG files (generated ones)")
    parser.add_argument("--rounds", type=count, default=7)
    parser.add_argument("--seconds", type=positive, default=3.0, help="of each closed loop (3)")
    parser.add_argument("--connections", type=count, default=16)
    options = parser.parse_args()
    busy, demo, port = os.getloadavg()[0], Published(TEXT), free_port()
    grpc = f"127.0.0.1:{port}"
    items: Items = {
        "text": [{"text": text_of(TOKENS, demo.screen)}] * ITEMS,
        "image": image_files(options.images, seed=1)[:ITEMS],
    }
    with tempfile.TemporaryDirectory(prefix="sieve-protocols-") as name:
        home = make_home(Path(name), demo.store, TEXT, threshold=NEVER)
        make_home(home, demo.store, IMAGE, threshold=NEVER)
        with sieve(home, TEXT, image=IMAGE, grpc_port=port) as server:
            rows = measured(server, items, grpc, options.rounds, options.seconds, options.connections)
            compared = compare_payloads(server.url, items, grpc=grpc, rounds=PAYLOAD_ROUNDS)
    said: Protocols = {
        "machine": machine(),
        "load_average_before": round(busy, 1),
        "connections": options.connections,
        "seconds": options.seconds,
        "images": options.images and options.images.name,
        "rows": rows,
        "payloads": compared,
    }
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, said)
    print(tables(said))
    return 0 if all(keeps(row) for row in rows) else 1


def measured(server: Running, items: Items, grpc: str, rounds: int, seconds: float, connections: int) -> list[Row]:
    """A row for each kind of item and each way, from rounds in which all of them take turns."""
    samples = {
        (kind, name): [make(item, way).sample for item in of_kind]
        for kind, of_kind in items.items()
        for name, way in ways(kind, grpc).items()
    }
    found: dict[tuple[Kind, str], list[Loop]] = {key: [] for key in samples}
    for each in samples.values():
        closed_loop(server.url, each, connections=connections, seconds=WARM_UP_S)
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}")
        # A drift of the machine's speed within a round favours neither end.
        for key in list(samples)[:: -1 if number % 2 else 1]:
            found[key].append(loop(server, samples[key], seconds, connections))
    per_s = {key: [each["per_s"] for each in loops] for key, loops in found.items()}
    return [
        {
            "item": kind,
            "encoding": name,
            "rounds": per_s[kind, name],
            "per_s": spread(per_s[kind, name]),
            "times_rest": ratio(per_s[kind, name], per_s[kind, REST[kind]]),
            "cpu_us": spread([each["cpu_us"] for each in found[kind, name]]),
        }
        for kind, name in samples
    ]


def loop(server: Running, samples: Sequence[Sample], seconds: float, connections: int) -> Loop:
    """One closed loop, by the generator's clock and the API process's processor time."""
    before_s = cpu_s(server)
    answered, took_s = closed_loop(server.url, samples, connections=connections, seconds=seconds)
    spent_s = cpu_s(server) - before_s
    return {"per_s": round(answered / took_s, 1), "cpu_us": round(1e6 * spent_s / max(1, answered), 1)}


def cpu_s(server: Running) -> float:
    """Processor time of the API process so far, all its threads together."""
    times = child(server, "--service-name sieve").cpu_times()
    return float(times.user + times.system)


def keeps(row: Row) -> bool:
    """Whether a row of gRPC reaches what it should; every other row does."""
    times = row["times_rest"]
    return row["encoding"] != "grpc" or (times is not None and times["median"] >= LEAST[row["item"]])


def tables(said: Protocols) -> str:
    """The closed loops, then the costs of serialization, in Markdown."""
    lines = [
        "| one | as | answers/s (lowest to highest) | times REST | the service's processor time, µs |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for row in said["rows"]:
        per_s, times, cpu = row["per_s"], row["times_rest"], row["cpu_us"]
        shown = "" if times is None else f"{times['median']:.2f} ({times['low']:.2f} to {times['high']:.2f})"
        cells = [row["item"], name_of(row["encoding"], row["item"])]
        cells += [f"{per_s['median']:,.0f} ({per_s['lowest']:,.0f} to {per_s['highest']:,.0f})"]
        cells += [shown if keeps(row) else f"**{shown}**", f"{cpu['median']:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + f"\n\n{payloads.table(said['payloads'])}"


if __name__ == "__main__":
    end_with(main)
