"""make int8, second part: ways to quantize a BERT: speed alone and in batches, and what company does to its answers.

Quantizes the teacher of each text recipe in each way. Times the graphs in turn on one thread as they are served: a
graph that takes ranges from its batch runs its items one at a time. Compares logits with the fp32 graph, and in
batches of 16 with those of each item alone. Writes build/bert-int8.json and prints a table. Teachers that are not built
yet are trained first.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from benchmarks.command import end_with
from benchmarks.int8 import asked_for, gap, graph_paths
from loadtest.machine import Machine, machine
from loadtest.pages.files import write_json
from optimize.build import Build
from optimize.judge.company import in_company
from optimize.judge.measure import BATCH, logits_of, measure, run_of
from optimize.models.calibration import CALIBRATIONS, calibrated, pre_processed
from optimize.models.graphs import quiet, save_graph
from optimize.models.saved import load_model
from optimize.results import Result
from optimize.steps.export import Export, export
from optimize.steps.quantize import quantize_dynamic
from serving.cpu import has_vnni

OUTPUT = Path("build") / "bert-int8"
PLAIN, DYNAMIC, ROWS, NBITS = "fp32", "dynamic", "dynamic by rows", "weights alone"
WAYS = (PLAIN, DYNAMIC, ROWS, *(f"static, {method}" for method in CALIBRATIONS), NBITS)


class Row(TypedDict):
    """One graph: milliseconds an item alone and in batches of like length, as served, and what happens to its logits.

    `moved` and `flips`: the largest move of a logit and the labels that change when items share batches of 16.
    `fp32_gap`: the mean gap to the fp32 graph, as a share of the standard deviation of its logits.
    """

    recipe: str
    way: str
    size_bytes: int
    ms_alone: float
    ms_in_batches: float
    moved: float
    flips: int
    fp32_gap: float


class BertInt8(TypedDict):
    """build/bert-int8.json."""

    machine: Machine
    vnni: bool
    load_average_before: float
    rounds: int
    items: dict[str, int]
    rows: list[Row]


def main() -> int:
    builds, rounds = asked_for("bert_int8", "Ways to quantize a BERT", ["demo-text"], rounds=200)
    load = os.getloadavg()[0]
    rows: list[Row] = []
    items: dict[str, int] = {}
    for build in builds:
        rows += measured(build, graphs(build, OUTPUT / build.recipe.name), rounds)
        items[build.recipe.name] = len(build.prepared("selection"))
    said: BertInt8 = {
        "machine": machine(),
        "vnni": has_vnni(),
        "load_average_before": round(load, 2),
        "rounds": rounds,
        "items": items,
        "rows": rows,
    }
    write_json(OUTPUT.with_suffix(".json"), said)
    print(table(rows))
    return 0


def graphs(build: Build, folder: Path) -> dict[str, Path]:
    """The teacher's plain export and its INT8 graphs, one file for each of WAYS."""
    paths = graph_paths(folder, WAYS)
    plain = export(load_model(build.teacher.path, "text"), Export(), paths[PLAIN])
    quantize_dynamic(plain, paths[DYNAMIC])
    save_graph(by_rows(onnx.load(paths[DYNAMIC])), paths[ROWS])
    texts = [build.preparer.collate([item]) for item in build.prepared("calibration").items]
    with quiet():
        shaped = pre_processed(plain, folder / "pre-processed.onnx")
        for method in CALIBRATIONS:
            calibrated(shaped, paths[f"static, {method}"], method, texts)
        # Level 4 multiplies in INT8.
        quantizer = MatMulNBitsQuantizer(onnx.load(plain), bits=8, block_size=32, is_symmetric=True, accuracy_level=4)
        quantizer.process()
    save_graph(quantizer.model.model, paths[NBITS])
    return paths


def by_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """A dynamic graph in which each row of activations, which is one token, has a scale of its own.

    Ranges are symmetric, with the zero point at 128. Nothing then depends on the batch. No operator of ONNX Runtime
    does this, so it takes several for each product.
    """
    graph = model.graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    inner = {n.input[0]: constants[n.input[1]].shape[0] for n in graph.node if n.op_type == "MatMulInteger"}
    scales = {n.output[1] for n in graph.node if n.op_type == "DynamicQuantizeLinear"}
    for name, value in (
        ("rows_zero", np.uint8(128)),
        ("rows_inverse", np.float32(1 / 127)),
        ("rows_least", np.float32(1e-10)),
        ("rows_one", np.float32(1)),
        ("rows_last", np.array([-1])),
    ):
        graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLinear":
            shape = numpy_helper.from_array(np.array([-1, inner[node.output[0]]]), f"{node.input[0]}_rows_shape")
            graph.initializer.append(shape)
            nodes += _quantized_rows(node.input[0], node.output[0], node.output[1], shape.name)
        elif node.op_type == "Mul" and any(name in producers and _is_product(producers, name) for name in node.input):
            product, scale = sorted(node.input, key=lambda name: not _is_product(producers, name))
            integers = producers[producers[product].input[0]]
            of_rows, of_weights = sorted(producers[scale].input, key=lambda name: name not in scales)
            factors = [*integers.input[:2], "rows_one", of_weights, "rows_zero", *integers.input[3:]]
            floats = f"{node.output[0]}_rows"
            nodes.append(helper.make_node("MatMulIntegerToFloat", factors, [floats], domain="com.microsoft"))
            nodes.append(helper.make_node("Mul", [floats, of_rows], [node.output[0]]))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(_used(nodes, {output.name for output in graph.output}))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def _is_product(producers: dict[str, onnx.NodeProto], name: str) -> bool:
    """Whether a value is a product of integers, as float."""
    node = producers.get(name)
    return node is not None and node.op_type == "Cast" and producers[node.input[0]].op_type == "MatMulInteger"


def _quantized_rows(x: str, quantized: str, scale: str, shape: str) -> list[onnx.NodeProto]:
    """QuantizeLinear takes scales along one axis, so the rows of `x` stand in one dimension meanwhile."""
    zero = helper.make_tensor("value", TensorProto.UINT8, [1], [128])
    return [
        helper.make_node("Abs", [x], [f"{x}_abs"]),
        helper.make_node("ReduceMax", [f"{x}_abs", "rows_last"], [f"{x}_most"], keepdims=1),
        helper.make_node("Mul", [f"{x}_most", "rows_inverse"], [f"{x}_rows_scale"]),
        helper.make_node("Max", [f"{x}_rows_scale", "rows_least"], [scale]),
        helper.make_node("Reshape", [x, shape], [f"{x}_rows"]),
        helper.make_node("Reshape", [scale, "rows_last"], [f"{x}_scales"]),
        helper.make_node("Shape", [f"{x}_scales"], [f"{x}_count"]),
        helper.make_node("ConstantOfShape", [f"{x}_count"], [f"{x}_zeros"], value=zero),
        helper.make_node("QuantizeLinear", [f"{x}_rows", f"{x}_scales", f"{x}_zeros"], [f"{x}_bytes"], axis=0),
        helper.make_node("Shape", [x], [f"{x}_shape"]),
        helper.make_node("Reshape", [f"{x}_bytes", f"{x}_shape"], [quantized]),
    ]


def _used(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """The nodes that the wanted values come from, in their order."""
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted = wanted.union(node.input)
    return kept[::-1]


def measured(build: Build, paths: dict[str, Path], rounds: int) -> list[Row]:
    """A row for each graph of `paths`, the fp32 one first. Only experts are timed in batches."""
    data, recipe = build.prepared("selection"), build.recipe
    results = {way: Result("expert", way, path, way, "fp32" if way == PLAIN else "int8") for way, path in paths.items()}
    latency = measure(build, list(results.values()), lambda _: data, rounds)
    logits = {way: logits_of(build, result, data) for way, result in results.items()}
    rows: list[Row] = []
    for way, graph in results.items():
        timed = latency[graph.name]
        assert timed.item_ms_at_8 is not None
        together = in_company(run_of(build, graph), data.items, logits[way], graph.precision, recipe.seed)
        rows.append(
            {
                "recipe": recipe.name,
                "way": way,
                "size_bytes": graph.size_bytes,
                "ms_alone": round(timed.median_ms, 3),
                "ms_in_batches": round(timed.item_ms_at_8, 3),
                "moved": float(f"{together['max_gap']:.2g}"),
                "flips": together["flips"],
                "fp32_gap": gap(logits[way], logits[PLAIN], logits[PLAIN]),
            }
        )
    return rows


def table(rows: Sequence[Row]) -> str:
    """Milliseconds, moves and gaps, in Markdown."""
    lines = [
        f"| recipe | way | MB | ms, alone | ms an item, {BATCH} at a time | moved by company | flips | gap to fp32 |",
        "| --- | --- |" + " ---: |" * 6,
    ]
    for row in rows:
        cells = f"{row['size_bytes'] / 1e6:.1f} | {row['ms_alone']:.2f} | {row['ms_in_batches']:.2f}"
        moves = f"{row['moved']:g} | {row['flips']} | {row['fp32_gap']:g}"
        lines.append(f"| {row['recipe']} | {row['way']} | {cells} | {moves} |")
    return "\n".join(lines)


if __name__ == "__main__":
    end_with(main)
