"""Which layout of pixels a GPU computes a model's convolutions in: channels first (NCHW), or last (NHWC).

Tensor cores take channels last. A graph has channels first, so ONNX Runtime turns what goes in and comes out of each
chain of convolutions that it moves. Which is faster depends on the model and the GPU, so both are timed at the start.
"""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeVar

import numpy as np

from serving.arrays import Array, Logits
from serving.model.shapes import Shapes

Layout = Literal["nchw", "nhwc"]
RUNS = 10
FASTER = 0.97
"""NHWC is taken where it needs at most this share of the time; below that the difference may be noise."""

logger = logging.getLogger("sieve")


class Runs(Protocol):
    """A session."""

    def run(self, inputs: Mapping[str, Array]) -> Logits:
        """Arrays named as the graph's inputs -> logits."""


Opened = TypeVar("Opened", bound=Runs)


def faster(
    name: str, open_in: Callable[[Layout], Opened], shapes: Shapes, clock: Callable[[], float] = time.perf_counter
) -> Opened:
    """The model `name` in the layout that is faster; the largest and the smallest batch count alike.

    What is opened in the other layout is let go. Where NHWC cannot be opened, NCHW serves, and the log says why.
    """
    first = open_in("nchw")
    every = shapes.all()
    batches = [{input_: np.zeros(shape, shapes.dtype) for input_ in shapes.inputs} for shape in (every[0], every[-1])]
    before = _medians(first, batches, clock)
    try:
        other = open_in("nhwc")
        after = _medians(other, batches, clock)
    except Exception as error:  # noqa: BLE001 - ONNX Runtime has no exception of its own, and NCHW serves as well
        logger.warning("%s runs in NCHW, since NHWC cannot be tried (%s)", name, str(error).partition("\n")[0])
        return first
    share = math.sqrt(math.prod(new / old for new, old in zip(after, before, strict=True)))
    logger.info("%s in NHWC takes %.2f times what it takes in NCHW", name, share)
    return other if share <= FASTER else first


def _medians(opened: Runs, batches: Sequence[dict[str, Array]], clock: Callable[[], float]) -> list[float]:
    """Seconds of a run of each batch."""

    def timed(batch: dict[str, Array]) -> float:
        begin = clock()
        opened.run(batch)
        return clock() - begin

    return [statistics.median(timed(batch) for _ in range(RUNS)) for batch in batches]
