"""Keeps the faults of items apart: one that a model cannot take spoils its own place in a batch, and no other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from serving.arrays import Array, Logits

Run = Callable[[Sequence[Array]], Logits]
"""Prepared items -> logits [items, labels]."""

logger = logging.getLogger("sieve")


def apart(run: Run, example: Array) -> Run:
    """The same as `run`, but an item on which it fails gets logits of NaN, and the others get theirs.

    What fails on `example` too is no fault of an item, and is raised.
    """

    def each(items: Sequence[Array]) -> Logits:
        try:
            return run(items)
        except Exception as error:  # whatever fails, the other items are to be answered
            nothing = np.full_like(run([example]), np.nan)
            logger.warning("a model failed on %d items, which now run one by one", len(items), exc_info=error)
            return np.concatenate([_alone(run, item, nothing) for item in items])

    return each


def _alone(run: Run, item: Array, nothing: Logits) -> Logits:
    try:
        return run([item])
    except Exception:  # noqa: BLE001  # it was logged with the batch
        return nothing
