"""The graphs of a build once more, to be judged as OpenVINO computes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from optimize.progress import console
from optimize.results import Result
from serving.errors import ProviderError
from serving.model.runtimes import open_openvino


def in_openvino(graphs: Sequence[Result]) -> list[Result]:
    """The graphs for the CPU as results whose runtime is OpenVINO; one that it cannot read is left out, and said."""
    readable = []
    for graph in graphs:
        result = dataclasses.replace(graph, runtime="openvino")
        try:
            if graph.provider == "CPUExecutionProvider":
                open_openvino(graph.path, threads=1)
                readable.append(result)
        except ProviderError as error:
            console.print(f"{result.name} is left out: {error}")
    return readable
