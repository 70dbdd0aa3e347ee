"""First on the road: measures logits and latency of a build's results, and logits of what is served.

`quality` turns logits into figures, `gates` compares figures with the recipe, `verify` writes the evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from optimize.build import Build
from optimize.data.inputs import Prepared, collect, decoded
from optimize.data.splits import Split
from optimize.errors import GateError
from optimize.judge.timing import Latency, alternate
from optimize.models.checkpoint import load_model
from optimize.models.training import predict
from optimize.progress import progress
from optimize.results import Result
from serving.arrays import Array, Logits
from serving.model.artifact import Artifact, Provider, VariantName
from serving.model.preprocess import preprocessor
from serving.model.session import Session, gpu_present, open_session
from serving.model.text import TextEncoder

Call = Callable[[int], object]


def logits_of(build: Build, result: Result, data: Prepared) -> Logits:
    """Logits float32 [items, labels] of a checkpoint in PyTorch, or of a graph in ONNX Runtime."""
    if not result.is_graph:
        return predict(load_model(result.path, build.recipe.task), data, build.preparer)
    # Without a GPU, the CPU computes fp16: slowly, and with the same values.
    provider = result.provider if gpu_present() else "CPUExecutionProvider"
    session = open_session(result.path, provider, threads=torch.get_num_threads())
    # Dynamic INT8 takes its ranges from the whole batch, so texts run alone, as most requests do.
    size = 1 if build.recipe.task == "text" else 32

    def run(indices: NDArray[np.int64]) -> Logits:
        return np.asarray(session.run(["logits"], build.preparer.collate(data.take(indices)))[0], dtype=np.float32)

    return collect(data, size, run)


def measure(build: Build, results: Sequence[Result], data: Prepared, rounds: int) -> dict[str, Latency]:
    """Latency at batch size 1 by the name of the result, over the items of `data`, in turn, on one thread each.

    A graph for a GPU is measured where there is one, with the plain export on that GPU beside it under
    `on_gpu(its name)`. Elsewhere it has no latency.
    """
    inputs = [build.preparer.collate([data.items[i]]) for i in range(min(rounds, len(data)))]
    calls: dict[str, Call] = {}
    for result in results:
        if not result.is_graph:
            calls[result.name] = _torch_call(load_model(result.path, build.recipe.task), inputs)
        elif result.provider == "CPUExecutionProvider":
            calls[result.name] = _graph_call(result, result.provider, inputs)
        elif gpu_present() and result.role != "teacher":
            plain = build.graphs(result.role)[0]
            calls[on_gpu(plain.name)] = _graph_call(plain, result.provider, inputs)
            calls[result.name] = _graph_call(result, result.provider, inputs)
    return alternate(calls, rounds)


def on_gpu(name: str) -> str:
    """The name of a plain export's latency on the GPU."""
    return f"{name} on the GPU"


def served_inputs(artifact: Artifact, split: Split) -> Iterator[dict[str, Array]]:
    """Each raw text or image of `split` as a batch of one, as serving prepares it."""
    preprocess = preprocessor(artifact)
    for content in split.inputs:
        if isinstance(preprocess, TextEncoder):
            yield preprocess.collate([preprocess.encode(content)])
        else:
            yield preprocess.collate([decoded(content, preprocess)])


def served_logits(artifact: Artifact, variant: VariantName, split: Split) -> Logits:
    """Logits float32 [items, labels] of a variant, as served: raw texts or images of `split`, one item a call.

    Raises GateError when a logit is not finite.
    """
    session = Session(artifact, variant)
    rows = []
    with progress(f"{artifact.manifest.name} {variant}", total=len(split)) as advance:
        for inputs in served_inputs(artifact, split):
            rows.append(session.run(inputs)[0])
            advance(1)
    logits = np.stack(rows)
    if not np.isfinite(logits).all():
        raise GateError(
            f"{artifact.manifest.name} {variant} says things that are no numbers on the {split.name} set; nothing is "
            "published. Look for an overflow (fp16) or a damaged graph"
        )
    return logits


def _graph_call(graph: Result, provider: Provider, inputs: Sequence[Mapping[str, Array]]) -> Call:
    session = open_session(graph.path, provider, threads=1)
    return lambda number: session.run(["logits"], inputs[number % len(inputs)])


def _torch_call(model: PreTrainedModel, inputs: Sequence[Mapping[str, Array]]) -> Call:
    @torch.inference_mode()
    def call(number: int) -> Any:
        return model(**{name: torch.from_numpy(array) for name, array in inputs[number % len(inputs)].items()}).logits

    return call
