"""make int8, first part: signed weights of the whole and half the range, and unsigned ones: speed, and gaps of logits.

Quantizes the teacher of each recipe in each way. Times the graphs in turn, on one thread, and compares logits with the
fp32 graph, with exact integer arithmetic, and with what a CPU without VNNI makes of them. Writes build/int8.json and
prints a table. Teachers that are not built yet are trained first.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime import InferenceSession

from benchmarks.command import end_with
from loadtest.machine import Machine, machine
from loadtest.pages.files import write_json
from optimize.build import Build
from optimize.data.inputs import Prepared
from optimize.judge.integers import exact_logits, saturated_logits
from optimize.judge.quality import accuracy
from optimize.judge.timing import Latency, alternate
from optimize.models.graphs import save_graph
from optimize.models.saved import load_model
from optimize.steps.export import Export, export
from optimize.steps.quantize import Quantize, quantize_dynamic, quantize_static
from serving.arrays import Array, Logits
from serving.cpu import has_vnni
from serving.model.open_session import open_session

Collate = Callable[[Sequence[Array]], dict[str, Array]]

OUTPUT = Path("build") / "int8"
WAYS = ("fp32", "signed, whole range", "signed, half the range", "unsigned, whole range")
BATCH_SIZES = (1, 8)
ITEMS = 200
"""Items of the selection set that the graphs answer."""
COMPUTED = 8
"""Items of these that numpy computes as well: about a second each for a BERT."""


class Row(TypedDict):
    """One graph: its size, milliseconds of a batch (median and quartiles), and mean gaps of logits.

    Gaps are shares of the standard deviation of the fp32 graph's logits. `exact_gap` is the gap of what this machine
    computes to exact integer arithmetic; `saturated_gap` is that of a CPU without VNNI, by numpy. Both are 0 for fp32.
    """

    recipe: str
    way: str
    size_bytes: int
    ms: dict[str, list[float]]
    accuracy: float
    fp32_gap: float
    exact_gap: float
    saturated_gap: float


class Int8(TypedDict):
    """build/int8.json."""

    machine: Machine
    vnni: bool
    load_average_before: float
    rounds: int
    items: int
    computed: int
    rows: list[Row]


def main() -> int:
    builds, rounds = asked_for("int8", "Ways to quantize weights", ["demo-text", "demo-image"], rounds=60)
    load = os.getloadavg()[0]
    rows: list[Row] = []
    for build in builds:
        data = build.prepared("selection")
        paths = graphs(build, OUTPUT / build.recipe.name)
        rows += measured(build.recipe.name, paths, data, build.preparer.collate, rounds)
    said: Int8 = {
        "machine": machine(),
        "vnni": has_vnni(),
        "load_average_before": round(load, 2),
        "rounds": rounds,
        "items": ITEMS,
        "computed": COMPUTED,
        "rows": rows,
    }
    write_json(OUTPUT.with_suffix(".json"), said)
    print(table(rows))
    return 0


def asked_for(module: str, description: str, recipes: list[str], *, rounds: int) -> tuple[Iterator[Build], int]:
    """The builds of the recipes that the command line names, each opened in its turn, and the rounds to measure.

    `recipes` and `rounds` are those without any.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    parser.add_argument("recipes", nargs="*", default=recipes)
    parser.add_argument("--root", type=Path, action="append", help="where the recipes' paths start, one for each")
    parser.add_argument("--rounds", type=int, default=rounds)
    options = parser.parse_args()
    roots = options.root or [Path()] * len(options.recipes)
    pairs = zip(options.recipes, roots, strict=True)
    return (Build.opened(name, root=root, folder=None) for name, root in pairs), options.rounds


def graph_paths(folder: Path, ways: Sequence[str]) -> dict[str, Path]:
    """A file in `folder` for the graph of each way; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return {way: folder / f"{way.replace(', ', '-').replace(' ', '-')}.onnx" for way in ways}


def graphs(build: Build, folder: Path) -> dict[str, Path]:
    """The teacher's plain export and its INT8 graphs, one file for each of WAYS."""
    paths = graph_paths(folder, WAYS)
    plain, whole, half, unsigned = paths.values()
    model = load_model(build.teacher.path, build.recipe.task)
    export(model, Export(), plain)
    for path, reduce_range in ((whole, False), (half, True)):
        if build.recipe.task == "text":
            quantize_dynamic(plain, path, reduce_range=reduce_range)
        else:
            images = build.prepared("calibration")
            batches = [np.stack(images.items[i : i + 32]) for i in range(0, len(images), 32)]
            # Both ranges take the first configuration: the accuracy stands in the table.
            quantize_static(
                model, Quantize(), path, calibration=batches, accuracy=lambda _: 1.0, reduce_range=reduce_range
            )
    save_graph(with_unsigned_weights(onnx.load(whole)), unsigned)
    return paths


def with_unsigned_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same products with weights and their zero points moved by 128, from int8 to uint8."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int8:
            tensor.CopyFrom(numpy_helper.from_array((values.astype(np.int16) + 128).astype(np.uint8), tensor.name))
    del model.graph.value_info[:]  # the exporter's, which say int8
    return model


def measured(recipe: str, paths: Mapping[str, Path], data: Prepared, collate: Collate, rounds: int) -> list[Row]:
    """A row for each graph of `paths`, the fp32 one first."""
    items = [data.items[number] for number in range(min(ITEMS, len(data)))]
    sessions = {way: open_session(path, "CPUExecutionProvider", threads=1) for way, path in paths.items()}
    latency = {size: latencies(sessions, items, collate, size, rounds) for size in BATCH_SIZES}
    alone = [collate([item]) for item in items]
    served = {way: np.concatenate([s.run(["logits"], one)[0] for one in alone]) for way, s in sessions.items()}
    plain = served["fp32"]
    rows: list[Row] = []
    for way, path in paths.items():
        timed = {str(size): latency[size][way] for size in BATCH_SIZES}
        exact, saturated = computed(path, alone[:COMPUTED]) if way != "fp32" else (plain[:COMPUTED],) * 2
        rows.append(
            {
                "recipe": recipe,
                "way": way,
                "size_bytes": path.stat().st_size,
                "ms": {
                    size: [round(ms, 3) for ms in (t.median_ms, t.lower_quartile_ms, t.upper_quartile_ms)]
                    for size, t in timed.items()
                },
                "accuracy": round(accuracy(served[way], data.targets[: len(items)]), 4),
                "fp32_gap": gap(served[way], plain, plain),
                "exact_gap": gap(served[way][:COMPUTED], exact, plain),
                "saturated_gap": gap(saturated, exact, plain),
            }
        )
    return rows


def latencies(
    sessions: Mapping[str, InferenceSession], items: Sequence[Array], collate: Collate, size: int, rounds: int
) -> dict[str, Latency]:
    """Latency of each session at one batch size, in turn, over batches of `items`."""
    batches = [collate(items[start : start + size]) for start in range(0, len(items) - size + 1, size)]

    def call(session: InferenceSession) -> Callable[[int], object]:
        return lambda number: session.run(["logits"], batches[number % len(batches)])

    return alternate({way: call(session) for way, session in sessions.items()}, rounds)


def computed(path: Path, batches: Sequence[Mapping[str, Array]]) -> tuple[Logits, Logits]:
    """Logits by exact integer arithmetic, and as a CPU without VNNI saturates them."""
    model = onnx.load(path)
    exact, saturated = (
        np.concatenate([f(model, batch) for batch in batches]) for f in (exact_logits, saturated_logits)
    )
    return exact, saturated


def gap(logits: Logits, others: Logits, plain: Logits) -> float:
    """Mean absolute difference, as a share of the standard deviation of `plain`."""
    return float(f"{np.abs(logits - others).mean() / plain.std():.2g}")


def table(rows: Sequence[Row]) -> str:
    """Medians with quartiles and gaps, in Markdown."""
    batches = " | ".join(f"ms, batch {size}" for size in BATCH_SIZES)
    lines = [
        f"| recipe | weights | {batches} | accuracy | gap to fp32 | to exact integers, here | without VNNI |",
        "| --- | --- |" + " ---: |" * (len(BATCH_SIZES) + 4),
    ]
    for row in rows:
        ms = " | ".join("{:.2f} ({:.2f} to {:.2f})".format(*row["ms"][str(size)]) for size in BATCH_SIZES)
        gaps = f"{row['fp32_gap']:g} | {row['exact_gap']:g} | {row['saturated_gap']:g}"
        lines.append(f"| {row['recipe']} | {row['way']} | {ms} | {row['accuracy']:.2%} | {gaps} |")
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
