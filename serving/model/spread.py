"""Spreads runs over several sessions of one model, one on each GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from queue import SimpleQueue

from serving.arrays import Array, Logits
from serving.model.runtimes import Run


def spread(runs: Sequence[Run], lanes: int) -> Run:
    """A run by whichever of `runs` is free, each of which takes so many calls at a time.

    Those that have been free for longest are next, so calls that are in flight together are spread over all.
    """
    if len(runs) == 1:
        return runs[0]
    free: SimpleQueue[Run] = SimpleQueue()
    for run in [run for _ in range(lanes) for run in runs]:
        free.put(run)

    def by_a_free_one(inputs: Mapping[str, Array]) -> Logits:
        run = free.get()
        try:
            return run(inputs)
        finally:
            free.put(run)

    return by_a_free_one
