"""Which graphs are worth publishing, decided on the selection set: right, as good as the export, and faster.

`optimize.judge.verify` then holds what was published against the teacher, on the holdout.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from optimize.build import Build
from optimize.data.inputs import Prepared, Preparer, collect
from optimize.errors import GateError
from optimize.judge.measure import Latency, alternate
from optimize.models.checkpoint import load_model
from optimize.models.training import predict
from optimize.recipe import Gates
from optimize.results import Result, Role
from serving.model.artifact import Provider
from serving.model.session import gpu_present, open_session

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a graph is published or not; shares and milliseconds on the selection set."""

    graph: str
    against: str
    published: bool
    reasons: tuple[str, ...]
    accuracy_drop: float
    speedup: float | None
    """None where it could not be measured: a graph for a GPU on a machine without one."""
    logit_gap: float
    """Largest difference of a logit from the checkpoint's."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def logits_of(build: Build, result: Result, data: Prepared) -> Logits:
    """Logits float32 [items, labels] of a checkpoint (PyTorch) or a graph (ONNX Runtime, as in service)."""
    if not result.is_graph:
        return predict(load_model(result.path, build.recipe.task), data, build.preparer)
    # Without a GPU, fp16 is computed on the CPU: slow, and as exact.
    provider = result.provider if gpu_present() else "CPUExecutionProvider"
    session = open_session(result.path, provider, threads=torch.get_num_threads())
    # Dynamic INT8 takes its ranges from the whole batch, so texts are asked alone, as most of them come.
    size = 1 if build.recipe.task == "text" else 32
    return collect(data, size, lambda indices: _run(session, build.preparer, data.take(indices)))


def measure(build: Build, results: list[Result], data: Prepared, rounds: int) -> dict[str, Latency]:
    """Latency at batch size 1 of each result, in turn, over the items of `data`; one thread each.

    Graphs for a GPU are measured where there is one, and so is the plain export that they came from, under
    `on_gpu(its name)`; elsewhere they are left out.
    """
    calls = {}
    inputs = [build.preparer.collate([data.items[i]]) for i in range(min(rounds, len(data)))]

    def add(name: str, path: Path, provider: Provider) -> None:
        session = open_session(path, provider, threads=1)
        calls[name] = lambda number: session.run(["logits"], inputs[number % len(inputs)])

    for result in results:
        if result.is_graph and result.provider == "CPUExecutionProvider":
            add(result.name, result.path, result.provider)
        elif result.is_graph:
            if gpu_present():
                plain = build.graphs(result.role)[0]
                add(on_gpu(plain.name), plain.path, result.provider)
                add(result.name, result.path, result.provider)
        else:
            model = load_model(result.path, build.recipe.task)
            calls[result.name] = lambda number, model=model: _forward(model, inputs[number % len(inputs)])
    return alternate(calls, rounds)


def judge(
    build: Build, role: Role, logits: dict[str, Logits], targets: NDArray[np.int64], latency: dict[str, Latency]
) -> list[Verdict]:
    """A verdict for each graph of a role. Raises GateError when the plain export itself fails parity."""
    gates = build.recipe.gates
    plain, *others = build.graphs(role)
    checkpoint = build.checkpoint_of(role)
    gap = _gap(logits[plain.name], logits[checkpoint.name])
    if not gap <= gates.max_logit_gap:
        raise GateError(
            f"{plain.name}: a logit differs by {gap:.2g} from PyTorch's, at most {gates.max_logit_gap:.2g} is allowed "
            "(gates.max_logit_gap); nothing is published"
        )
    drop = accuracy(logits[checkpoint.name], targets) - accuracy(logits[plain.name], targets)
    speedup = latency[checkpoint.name].median_ms / latency[plain.name].median_ms
    verdicts = [Verdict(plain.name, checkpoint.name, True, (), drop, speedup, gap)]
    for graph in others:
        drop = accuracy(logits[plain.name], targets) - accuracy(logits[graph.name], targets)
        speedup = _speedup(plain, graph, latency)
        gap = _gap(logits[graph.name], logits[checkpoint.name])
        reasons = _reasons(graph, gates, drop, speedup, gap)
        verdicts.append(Verdict(graph.name, plain.name, not reasons, reasons, drop, speedup, gap))
    return verdicts


def on_gpu(name: str) -> str:
    """The name under which a float graph's latency on the GPU stands."""
    return f"{name} on the GPU"


def _speedup(plain: Result, graph: Result, latency: dict[str, Latency]) -> float | None:
    if graph.provider == "CPUExecutionProvider":
        return latency[plain.name].median_ms / latency[graph.name].median_ms
    if graph.name not in latency:
        return None
    return latency[on_gpu(plain.name)].median_ms / latency[graph.name].median_ms


def _reasons(graph: Result, gates: Gates, drop: float, speedup: float | None, gap: float) -> tuple[str, ...]:
    """What keeps a graph from being published; empty when nothing does."""
    reasons = []
    if speedup is None:
        reasons.append(f"{graph.precision} is for a GPU, and there is none here to measure it on")
    elif not speedup > gates.min_speedup:
        reasons.append(f"{speedup:.2f} times as fast as the graph it came from, more than {gates.min_speedup} is asked")
    if not drop <= gates.max_accuracy_drop + 1e-9:  # a share is a sum of many rounded parts
        reasons.append(f"loses {drop:.2%} of accuracy, at most {gates.max_accuracy_drop:.2%} is allowed")
    if graph.precision == "fp32" and not gap <= gates.max_logit_gap:
        reasons.append(f"a logit differs by {gap:.2g} from PyTorch's, at most {gates.max_logit_gap:.2g} is allowed")
    return tuple(reasons)


def _run(session: onnxruntime.InferenceSession, preparer: Preparer, items: list[Any]) -> Logits:
    return np.asarray(session.run(["logits"], preparer.collate(items))[0], dtype=np.float32)


@torch.inference_mode()
def _forward(model: Any, inputs: dict[str, NDArray[Any]]) -> object:
    return model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits


def _gap(one: Logits, other: Logits) -> float:
    return float(np.abs(one - other).max())


def accuracy(logits: Logits, targets: NDArray[np.int64]) -> float:
    """Share of the rows whose largest logit is the target's."""
    return float((logits.argmax(axis=1) == targets).mean())
