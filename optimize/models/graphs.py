"""ONNX graphs on disk, as every step reads and writes them."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import onnx

# ONNX Runtime 1.31 reads IR versions up to 13; onnx 1.23 writes 14 unless it is told otherwise.
IR_VERSION = 10


def save_graph(graph: onnx.ModelProto, output: Path) -> None:
    """Check and write a graph beside, then rename it."""
    graph.ir_version = min(graph.ir_version, IR_VERSION)
    beside = output.with_suffix(".partial")
    onnx.save(graph, beside)
    onnx.checker.check_model(beside)
    beside.rename(output)


class quiet(warnings.catch_warnings):  # noqa: N801 - used as a statement, like the function it extends
    """Silence the exporters' own warnings and notes: they speak of their internals, which nobody here can change."""

    def __enter__(self) -> Any:
        self._level = logging.root.manager.disable
        logging.disable(logging.WARNING)
        entered = super().__enter__()
        warnings.simplefilter("ignore")
        return entered

    def __exit__(self, *error: object) -> None:
        logging.disable(self._level)
        super().__exit__(*error)  # type: ignore[arg-type]
