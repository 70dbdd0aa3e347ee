"""One model of a cascade, run for throughput: sorted by length, in the batches that cost least, on all cores."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np

from serving.arrays import Array, Logits
from serving.model.answer import Answer
from serving.model.apart import apart
from serving.model.artifact import Artifact, VariantName
from serving.model.golden import check_golden
from serving.model.head import head_of
from serving.model.preprocess import example_items, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from serving.model.shapes import WARM_UP_BATCH_SIZES
from serving.model.windows import groups, length_of

ALONE_ROWS = 16
"""Rows that one thread takes at a time where a model runs its items one by one."""
ROUNDS = 3
# A larger batch takes more memory, so it must save at least so much of an item's time.
LEAST_GAIN = 0.03
LONG_S = 1.0
"""No batch larger than one that takes this long is tried."""


class Stage:
    """A variant of an artifact, by default the one that is served on this machine.

    ONNX Runtime takes one thread for each call; several threads call it side by side.
    """

    def __init__(self, artifact: Artifact, temperature: float, variant: VariantName | None = None) -> None:
        session = Session(artifact, variant)
        self.variant, self.preprocess = session.variant, preprocessor(artifact)
        runner = Runner(session, self.preprocess)
        self.against = check_golden(artifact, runner).against
        """Why the promise does not apply to what runs; empty if it may."""
        self.batch_size: int | None = 1 if session.alone else None
        """Rows of a batch; None until it was measured."""
        self.run = apart(runner.run, example_items(artifact.manifest.settings)[0])
        self._rows = ALONE_ROWS if session.alone else 0
        self._head, self._labels, self._temperature = head_of(artifact.manifest), artifact.manifest.labels, temperature
        self._measuring = threading.Lock()

    def answers(self, items: Sequence[Array], pool: Executor) -> list[Answer]:
        """One answer an item, in order. An item on which the model fails gets a confidence of NaN."""
        if not items:
            return []
        return self._head.answers(self.logits(items, pool), self._labels, self._temperature)

    def logits(self, items: Sequence[Array], pool: Executor) -> Logits:
        """Logits [items, labels], in order."""
        if not items:
            return np.empty((0, len(self._labels)), dtype=np.float32)
        # The longest batches begin first, so that the threads end at about the same time.
        order = sorted(range(len(items)), key=lambda place: length_of(items[place]), reverse=True)
        ordered = [items[place] for place in order]
        parts = [ordered[part] for part in groups(ordered, self._rows or self._measured(ordered))]
        sorted_logits = np.concatenate(list(pool.map(self.run, parts)))
        logits = np.empty_like(sorted_logits)
        logits[order] = sorted_logits
        return logits

    def _measured(self, items: Sequence[Array]) -> int:
        """The best batch size; the first items that come are what it is measured with."""
        with self._measuring:
            if self.batch_size is None:
                self.batch_size = best_batch_size(self.run, items)
            return self.batch_size


def best_batch_size(
    run: Callable[[Sequence[Array]], Logits], items: Sequence[Array], clock: Callable[[], float] = time.perf_counter
) -> int:
    """The size at which an item takes the least time in a batch of its like; `items` are sorted by length."""
    best, least_s = 1, float("inf")
    for size in WARM_UP_BATCH_SIZES:
        start = max(0, (len(items) - size) // 2)
        alike = (list(items[start : start + size]) * size)[:size]
        took_s = float("inf")
        for _ in range(ROUNDS):
            begin_s = clock()
            run(alike)
            took_s = min(took_s, clock() - begin_s)
        if took_s / size < least_s * (1 - LEAST_GAIN):
            best, least_s = size, took_s / size
        if took_s > LONG_S:
            break
    return best
