"""A batch that is too large for the memory runs in halves, and the service goes on."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

import numpy as np

from serving.arrays import Array, Logits
from serving.model.runtimes import Run

# What ONNX Runtime's arenas, CUDA, cuBLAS and cuDNN say, none of which has an exception of its own.
_TOLD = re.compile(
    r"Failed to allocate memory|smaller than requested bytes|out of memory|_ALLOC_FAILED|std::bad_alloc", re.IGNORECASE
)

logger = logging.getLogger("sieve")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a run has failed because memory was short, on the GPU or on the host."""
    return isinstance(error, MemoryError) or bool(_TOLD.search(str(error)))


def in_halves(run: Run, name: str) -> Run:
    """The same as `run`, but a batch for which memory is short runs as two halves, one after the other.

    A batch of one row is not divided: what it raises is raised. `name` is that of the model, for the log.
    """

    def divided(inputs: Mapping[str, Array]) -> Logits:
        rows = len(next(iter(inputs.values())))
        try:
            return run(inputs)
        except Exception as error:
            if rows == 1 or not is_out_of_memory(error):
                raise
        # Outside of the except clause: the error holds the frames that hold the memory.
        logger.warning("memory was too short for %d rows of %s at once; they run as two halves", rows, name)
        half = rows // 2
        parts = (slice(None, half), slice(half, None))
        return np.concatenate([divided({key: array[part] for key, array in inputs.items()}) for part in parts])

    return divided
