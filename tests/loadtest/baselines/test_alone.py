"""The model alone: its figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from loadtest.baselines.alone import WARM_UP, alone
from loadtest.baselines.model import Model


class Counting:
    """In place of a model: the sizes of the batches that it got."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def classify_all(self, texts: Sequence[str]) -> None:
        self.sizes.append(len(texts))


def test_every_size_is_warmed_up_and_measured() -> None:
    model = Counting()
    figures = alone(cast(Model, model), "a text", 0.01, sizes=(1, 4))
    assert figures.keys() == {"1", "4"}
    assert all(model.sizes.count(size) > WARM_UP for size in (1, 4))
    assert all(found.keys() == {"per_s", "p50_ms", "p99_ms"} for found in figures.values())
    assert all(found["per_s"] > 0 for found in figures.values())
