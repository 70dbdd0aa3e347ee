"""Runs prepared items on an open variant: the one way from items to logits, in the service and in its evidence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from serving.arrays import Array, Logits
from serving.model.artifact import ImageSettings, TextSettings
from serving.model.preprocess import WARM_UP_BATCH_SIZES, Preprocessor, example_items
from serving.model.session import Session


class Runner:
    """Prepared items -> logits float32 [items, labels], which never depend on the company of an item.

    The items of a variant that is `alone` run one at a time: dynamic INT8 takes its ranges from the whole batch, so in
    company a text would get another answer than the promise was made for. Other variants run their items together.
    """

    def __init__(self, session: Session, preprocess: Preprocessor) -> None:
        self.session, self._collate = session, preprocess.collate
        self.run = self._one_by_one if session.alone else self._together

    def warm_up(self, settings: TextSettings | ImageSettings) -> None:
        """Run every batch size and length twice, so that no request meets a shape that has not run.

        The first run of a shape allocates memory, the second uses it.
        """
        for item in example_items(settings):
            for size in (1,) if self.session.alone else WARM_UP_BATCH_SIZES:
                for _ in range(2):
                    self.run([item] * size)

    def _together(self, items: Sequence[Array]) -> Logits:
        return self.session.run(self._collate(items))

    def _one_by_one(self, items: Sequence[Array]) -> Logits:
        if len(items) == 1:
            return self.session.run(self._collate(items))
        return np.concatenate([self.session.run(self._collate([item])) for item in items])
