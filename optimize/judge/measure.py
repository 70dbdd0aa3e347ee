"""First on the road: measures logits and latency of a build's results, and logits of what is served.

`quality` turns logits into figures, `gates` compares figures with the recipe, `verify` writes the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from optimize.build import Build
from optimize.data.inputs import Prepared, collect, decoded
from optimize.data.splits import Split
from optimize.errors import GateError
from optimize.judge.timing import Latency, alternate
from optimize.models.bfloat16 import open_on_cpu
from optimize.models.graphs import range_of_batch
from optimize.models.saved import load_model
from optimize.models.training import predict
from optimize.progress import progress
from optimize.results import ON_GPU, Result
from serving.arrays import Array, Logits
from serving.load.forecast import step
from serving.model.artifact import Artifact, Provider, VariantName
from serving.model.device import gpu_present, without_bfloat16
from serving.model.preprocess import preprocessor
from serving.model.runner import MAX_ROWS, Runner
from serving.model.session import Session, open_graph
from serving.model.text import TextEncoder
from serving.model.windows import groups, length_of

Call = Callable[[int], object]
BATCH = 8
"""Items of a batch of an expert."""
BATCHES_SHARE = 5
"""One batch is timed for so many single items."""


def logits_of(build: Build, result: Result, data: Prepared) -> Logits:
    """Logits float32 [items, labels] of a checkpoint in PyTorch, or of a graph in its runtime, one item a call.

    `data` was prepared for the result.
    """
    if result.graph is None:
        return predict(load_model(result.path, build.recipe.task), data, build.preparer_of(result))
    run = run_of(build, result)
    return collect(data, 1, lambda indices: run(data.take(indices)))


def run_of(build: Build, result: Result) -> Callable[[Sequence[Array]], Logits]:
    """A function that runs a graph on the prepared items of one batch."""
    provider = result.provider if _has_device(result) else "CPUExecutionProvider"
    if provider == "CPUExecutionProvider" and result.precision in ON_GPU:
        run_arrays = open_on_cpu(_file(result), torch.get_num_threads())
    else:
        run_arrays, _ = open_graph(_file(result), provider, torch.get_num_threads(), result.runtime)
    preparer = build.preparer_of(result)

    def run(items: Sequence[Array]) -> Logits:
        return preparer.merged(run_arrays(preparer.collate(items)), items)

    return run


def measure(
    build: Build, results: Sequence[Result], data: Callable[[Result], Prepared], rounds: int
) -> dict[str, Latency]:
    """Latency at batch size 1 by the name of the result, over the items of `data`, in turn, on one thread each.

    `data` gives the items as arrays for a result.

    An expert runs batches under load, so its graphs for the CPU are measured in batches, too. A graph for a GPU is
    measured where there is one, with the plain export on that GPU beside it under `on_gpu(its name)`. Elsewhere it has
    no latency.
    """
    calls: dict[str, Call] = {}
    by_preparer: dict[str, list[dict[str, Array]]] = {}
    for result in results:
        preparer = build.preparer_of(result)
        if preparer.key not in by_preparer:
            items = data(result).take(range(min(rounds, len(data(result)))))
            by_preparer[preparer.key] = [preparer.collate([item]) for item in items]
        inputs = by_preparer[preparer.key]
        if result.graph is None:
            calls[result.name] = _torch_call(load_model(result.path, build.recipe.task), inputs)
        elif result.provider == "CPUExecutionProvider":
            calls[result.name] = _graph_call(result, result.provider, inputs)
        elif _has_device(result) and result.role != "teacher":
            plain = build.graphs(result.role)[0]
            calls[on_gpu(plain.name)] = _graph_call(plain, result.provider, inputs)
            calls[result.name] = _graph_call(result, result.provider, inputs)
    latency = alternate(calls, rounds)
    experts = [result for result in results if _runs_batches(result)]
    batches = {graph.name: _batch_call(build, graph, data(graph)) for graph in experts}
    for name, timed in alternate(batches, max(rounds // BATCHES_SHARE, 1), warmup=2).items():
        latency[name] = replace(latency[name], item_ms_at_8=timed.median_ms / BATCH)
    return latency


def _has_device(result: Result) -> bool:
    """Whether there is a GPU here that computes in a result's precision."""
    return gpu_present() and (result.precision != "bf16" or not without_bfloat16((0,)))


def _runs_batches(result: Result) -> bool:
    return result.is_graph and result.role == "expert" and result.provider == "CPUExecutionProvider"


def batches_of(data: Prepared, seed: int) -> NDArray[np.int64]:
    """The places [batches, 8] of items of like length, as an expert's queue forms its batches; in random order."""
    order = np.arange(len(data))
    if data.items[0].ndim < 3:  # all images have one length
        order = np.argsort([step(length_of(item)) for item in data.items], kind="stable")
    whole = np.resize(order, -(-len(order) // BATCH) * BATCH)
    return np.random.default_rng(seed).permutation(whole.reshape(-1, BATCH))


def _batch_call(build: Build, graph: Result, data: Prepared) -> Call:
    """Runs a graph on 8 items of `data` as `serving.model.runner` does: together, or one at a time where it must."""
    run, _ = open_graph(graph.path, graph.provider, 1, graph.runtime)
    most_rows = 1 if range_of_batch(onnx.load(graph.path)) else MAX_ROWS
    places, preparer = batches_of(data, build.recipe.seed), build.preparer_of(graph)

    def call(number: int) -> None:
        items = data.take(places[number % len(places)])
        for part in groups(items, most_rows):
            run(preparer.collate(items[part]))

    return call


def on_gpu(name: str) -> str:
    """The name of a plain export's latency on the GPU."""
    return f"{name} on the GPU"


class ServedItems(Sequence[Array]):
    """The raw texts or images of a split, each prepared on access as serving prepares it."""

    def __init__(self, artifact: Artifact, split: Split) -> None:
        self.preprocess, self._contents = preprocessor(artifact), split.inputs

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, place: Any) -> Any:
        content, preprocess = self._contents[place], self.preprocess
        return preprocess.item(content)[0] if isinstance(preprocess, TextEncoder) else decoded(content, preprocess)


def served_logits(artifact: Artifact, variant: VariantName, split: Split) -> Logits:
    """Logits float32 [items, labels] of a variant, as served: raw texts or images of `split`, one a request.

    Raises GateError when a logit is not finite.
    """
    items = ServedItems(artifact, split)
    runner = Runner(Session(artifact, variant), items.preprocess)
    rows = []
    with progress(f"{artifact.manifest.name} {variant}", total=len(split)) as advance:
        for item in items:
            rows.append(runner.run([item])[0])
            advance(1)
    logits = np.stack(rows)
    if not np.isfinite(logits).all():
        raise GateError(
            f"{artifact.manifest.name} {variant} says things that are no numbers on the {split.name} set; nothing is "
            "published. Look for an overflow (fp16) or a damaged graph"
        )
    return logits


def _graph_call(graph: Result, provider: Provider, inputs: Sequence[Mapping[str, Array]]) -> Call:
    run, _ = open_graph(_file(graph), provider, 1, graph.runtime)
    return lambda number: run(inputs[number % len(inputs)])


def _file(result: Result) -> Path:
    assert result.graph is not None, "the result has a graph"
    return result.graph


def _torch_call(model: PreTrainedModel, inputs: Sequence[Mapping[str, Array]]) -> Call:
    @torch.inference_mode()
    def call(number: int) -> Any:
        return model(**{name: torch.from_numpy(array) for name, array in inputs[number % len(inputs)].items()}).logits

    return call
