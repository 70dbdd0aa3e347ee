"""Whether fp16 holds the values of a model: its range ends at 65,504, where that of float32 and bfloat16 does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from optimize.models.bfloat16 import open_on_cpu
from optimize.progress import console
from optimize.results import Result
from serving.arrays import Array, Logits
from serving.model.runtimes import Run
from serving.model.session import open_graph

ITEMS = 32
"""Of the selection set: values that overflow do so for most items, if for any."""


def too_large(half: Result, source: Result, inputs: Sequence[Mapping[str, Array]], allowed: float) -> bool:
    """Whether a graph in fp16 fails where its source in float32 does not; if so, it is said why.

    It is good if its logits for `inputs` are finite, and move on average by `allowed` parts of their spread at most.
    Both graphs run on the CPU.
    """
    threads = torch.get_num_threads()
    plain, _ = open_graph(source.path, "CPUExecutionProvider", threads, "onnxruntime")
    got, wanted = (_logits(run, inputs) for run in (open_on_cpu(half.path, threads), plain))
    gap = float(np.abs(got - wanted).mean() / max(float(wanted.std()), 1e-12))
    if not np.isfinite(gap):
        why = "some values of the model are too large for fp16"
    elif gap > allowed:
        why = f"fp16 moves logits by {gap:.3g} of their spread, at most {allowed:.3g} is allowed"
    else:
        return False
    console.print(f"{half.name}: {why}; bf16 is made, too")
    return True


def _logits(run: Run, inputs: Sequence[Mapping[str, Array]]) -> Logits:
    return np.concatenate([run(arrays) for arrays in inputs])
