"""make photographs: a cascade of full-size image models against PyTorch behind FastAPI: build/photographs.

    python -m benchmarks.photographs [--images FILE] [--cascade demo-image] [--rounds 3] [--limit-ms 250]

1. make a ResNet-50 and a screen cut from it, with random weights, where 15 % of the photographs escalate
2. time in this process, on one thread, what decoding and resizing a photograph take, the screen, and the expert
3. the highest goodput of both services at p99 --limit-ms, in turn
4. say how much of the machine's cores the sum of these parts takes at that goodput: the rest is waiting and the service

The generator shares the cores, so the sum never takes all of them.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict, TypeVar

from benchmarks.command import end_with
from benchmarks.contenders import exported, fastapi, sieve
from benchmarks.full_size_images import RESNET_50, make_full_size
from benchmarks.hot_path import timed
from benchmarks.published import Published
from loadtest.compare import compare
from loadtest.options import count, positive
from loadtest.pages.files import write_json
from loadtest.traffic.plan import Plan
from loadtest.traffic.workload import Mix, image_files
from loadtest.verdict.comparison import Comparison, ratios, table
from loadtest.verdict.objective import Objective
from optimize.progress import console
from serving.arrays import Array, Logits
from serving.model.artifact import Artifact
from serving.model.image import ImageDecoder
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session

T = TypeVar("T")
ESCALATED = 0.15
AT_LEAST_TIMES = 8.0
OWN_S = 4.0
"""For so long each part is timed alone."""
OUTPUT = Path("build") / "photographs"


class Parts(TypedDict):
    """Milliseconds of one photograph, medians on one thread: each part alone, and what a photograph takes of all."""

    decode_ms: float
    screen_ms: float
    expert_ms: float
    sum_ms: float


class Photographs(TypedDict):
    """build/photographs/photographs.json. `busy_cores`: what the parts take of the cores at the cascade's goodput."""

    comparison: Comparison
    load_average_before: float
    photographs: int
    escalated_share: float
    parts: Parts
    busy_cores: float
    at_least_times: float
    times: float | None
    without_rate: int
    holds: bool


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.photographs", description="Full-size image models")
    parser.add_argument("--images", type=Path, help="a folder or tar of photographs (generated ones)")
    parser.add_argument("--cascade", default="demo-image", help="an image cascade whose labels are taken (demo-image)")
    parser.add_argument("--rounds", type=count, default=3)
    parser.add_argument("--limit-ms", type=positive, default=250.0, help="p99 of all that was asked (250)")
    options = parser.parse_args()
    busy, files = os.getloadavg()[0], image_files(options.images, seed=1)
    with tempfile.TemporaryDirectory(prefix="sieve-photographs-") as name:
        console.print("making the models")
        store = Published(options.cascade).store
        made = make_full_size(Path(name), store, options.cascade, files, ESCALATED, RESNET_50)
        published = Published(options.cascade, made.home / "models")
        parts = own(published, files, OWN_S)
        program = exported(made.teacher, Path(name) / "teacher.pt2", published.expert)
        contenders = [
            fastapi("FastAPI, PyTorch fp32", published.baseline(published.expert, "torch", program)),
            sieve("Sieve, cascade", made.home, published),
        ]
        plan = Plan(url="", images=options.images, mix=Mix(image_share=1.0), budget_ms=options.limit_ms)
        objective = Objective(limits_ms={"p99": options.limit_ms})
        result = compare(contenders, plan, objective, rounds=options.rounds, folder=OUTPUT)
    said = photographs(result, parts, len(files), round(busy, 1))
    write_json(OUTPUT / "photographs.json", said)
    print(tables(said))
    return 0


def own(published: Published, files: Sequence[bytes], seconds: float) -> Parts:
    """What each part of a photograph's way takes alone."""
    decoder = preprocessor(published.expert)
    assert isinstance(decoder, ImageDecoder), "the cascade is for images"
    items = [decoder.decode(data) for data in files]
    decode = median_ms(decoder.decode, files, seconds)
    screen, expert = (median_ms(_alone(artifact), items, seconds) for artifact in (published.screen, published.expert))
    whole = decode + screen + ESCALATED * expert
    return {"decode_ms": decode, "screen_ms": screen, "expert_ms": expert, "sum_ms": round(whole, 3)}


def _alone(artifact: Artifact) -> Callable[[Array], Logits]:
    runner = Runner(Session(artifact), preprocessor(artifact))
    return lambda item: runner.run([item])


def median_ms(call: Callable[[T], object], each: Sequence[T], seconds: float) -> float:
    """The median of calls with one of `each` after the other."""
    turns = itertools.cycle(each)
    return round(statistics.median(timed(lambda: call(next(turns)), seconds)), 3)


def photographs(result: Comparison, parts: Parts, files: int, busy: float) -> Photographs:
    """The figures with their bound."""
    first, last = result["rows"][0], result["rows"][-1]
    times = statistics.median(ratios(last["rounds"], first["rounds"]))
    return {
        "comparison": result,
        "load_average_before": busy,
        "photographs": files,
        "escalated_share": ESCALATED,
        "parts": parts,
        "busy_cores": round(last["goodput_per_s"]["median"] * parts["sum_ms"] / 1e3, 3),
        "at_least_times": AT_LEAST_TIMES,
        "times": round(times, 2) if math.isfinite(times) else None,
        "without_rate": sum(not goodput for goodput in first["rounds"]),
        "holds": times >= AT_LEAST_TIMES,
    }


def tables(said: Photographs) -> str:
    """The comparison, the parts, and what both say, in Markdown."""
    parts, verdict = said["parts"], "which holds" if said["holds"] else "which is **missed**"
    cores, sum_ms = said["comparison"]["machine"]["cores"], parts["sum_ms"]
    times = "more than any number of times" if said["times"] is None else f"{said['times']:g} times"
    none = f", which kept no rate at all in {said['without_rate']} of them" if said["without_rate"] else ""
    return "\n".join(
        [
            table(said["comparison"]),
            "",
            f"In the median of the rounds the cascade has {times} the goodput of FastAPI{none}. At least "
            f"{said['at_least_times']:g} times were asked, {verdict}.",
            "",
            f"| decode and resize, ms | screen, ms | expert, ms | a photograph of which {said['escalated_share']:.0%} "
            "escalate, ms | cores that this takes at the cascade's goodput |",
            "| ---: | ---: | ---: | ---: | ---: |",
            f"| {parts['decode_ms']:.2f} | {parts['screen_ms']:.2f} | {parts['expert_ms']:.2f} | {sum_ms:.2f} | "
            f"{said['busy_cores']:.2f} of {cores} |",
        ]
    )


if __name__ == "__main__":
    end_with(main)
