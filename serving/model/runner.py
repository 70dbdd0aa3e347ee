"""Runs prepared items on an open variant: the one way from items to logits, in the service and in its evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.arrays import Array, Logits
from serving.model.artifact import ImageSettings, TextSettings
from serving.model.preprocess import Collator, example_items, example_windows
from serving.model.session import Session
from serving.model.shapes import sizes_up_to
from serving.model.windows import groups
from serving.settings import MAX_BATCH_SIZE

MAX_ROWS = MAX_BATCH_SIZE
"""Rows of one batch of a session, by default. A text in windows has several, and memory grows with them."""


class Runner:
    """Prepared items -> logits float32 [items, labels], which never depend on the company of an item.

    The items of a variant that is `alone` run one at a time: dynamic INT8 takes its ranges from the whole batch, so in
    company a text would get another answer than the promise was made for. Other variants run their items together. The
    windows of a text are one item: they run together, and their logits become one. `most_rows` run at once.
    """

    def __init__(self, session: Session, collator: Collator, most_rows: int = MAX_ROWS) -> None:
        self.session, self._collator, self._most_rows = session, collator, most_rows

    def run(self, items: Sequence[Array]) -> Logits:
        """Prepared items, at least one -> logits float32 [items, labels]."""
        if len(items) == 1:
            return self._batch(items)
        return self._one_by_one(items) if self.session.alone else self._together(items)

    def warm_up(self, settings: TextSettings | ImageSettings) -> None:
        """Run every batch size and length twice, so that no request meets a shape that has not run.

        The first run of a shape allocates memory, the second uses it.
        """
        sizes = (1,) if self.session.alone else sizes_up_to(self._most_rows)
        shapes = [(item, size) for item in example_items(settings) for size in sizes]
        for item, size in [*shapes, *((item, 1) for item in example_windows(settings))]:
            for _ in range(2):
                self.run([item] * size)

    def _together(self, items: Sequence[Array]) -> Logits:
        logits = [self._batch(items[part]) for part in groups(items, self._most_rows)]
        return logits[0] if len(logits) == 1 else np.concatenate(logits)

    def _one_by_one(self, items: Sequence[Array]) -> Logits:
        return np.concatenate([self._batch((item,)) for item in items])

    def _batch(self, items: Sequence[Array]) -> Logits:
        logits = self.session.run(self._collator.collate(items))
        return logits if len(logits) == len(items) else self._collator.merged(logits, items)
