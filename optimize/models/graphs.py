"""Write ONNX graphs, look into them, and keep the exporters quiet."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx

# ONNX Runtime 1.31 reads IR versions up to 13, and onnx 1.23 writes 14 by default.
IR_VERSION = 10

_RANGE_OF_BATCH = ("DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM")


def save_graph(graph: onnx.ModelProto, output: Path) -> None:
    """Write a graph beside, check it and rename it. Raises onnx's ValidationError when it is not valid.

    Notes are left out: PyTorch's exporter writes stack traces, with the paths of the machine, so that the same graph
    would have another digest in another folder.
    """
    _remove_notes(graph)
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    beside = output.with_suffix(".partial")
    onnx.save(graph, beside)
    onnx.checker.check_model(beside)
    beside.rename(output)


def _remove_notes(message: Any) -> None:
    """Remove documentation and metadata from an onnx message and all inside it: subgraphs, functions, nodes, values."""
    for name in ("doc_string", "metadata_props"):
        if name in message.DESCRIPTOR.fields_by_name:
            message.ClearField(name)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in [value] if hasattr(value, "ListFields") else value:
                _remove_notes(inner)


def use_shared_weights(model: onnx.ModelProto) -> None:
    """Let every operator read a weight itself, in place, where PyTorch's exporter put Identity between.

    It does so for the second use of a weight. A quantizer knows a weight by its initializer.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    copies = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Identity" and n.input[0] in weights}
    kept = [node for node in graph.node if node.output[0] not in copies]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = copies.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)


def products_of_activations(model: onnx.ModelProto) -> list[str]:
    """The names of the products whose second factor is no weight, as of queries with keys, in the graph's order."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and node.input[1] not in weights]


def range_of_batch(model: onnx.ModelProto) -> bool:
    """Whether an operator of `model` takes a range from its whole batch."""
    return any(node.op_type in _RANGE_OF_BATCH for node in model.graph.node)


@contextmanager
def work_beside(output: Path) -> Iterator[Path]:
    """A folder beside `output` for as long as the block runs."""
    work = output.with_name(f"{output.stem}.quantizing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


class quiet(warnings.catch_warnings):  # noqa: N801 - a context manager, lower case as the class it extends
    """Silence the exporters' warnings and logs, which are about their internals."""

    def __enter__(self) -> Any:
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered

    def __exit__(self, *error: object) -> None:
        logging.disable(self._level)
        super().__exit__(*error)  # type: ignore[arg-type]  # three arguments, or all None
