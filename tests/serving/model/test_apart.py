"""One item that a model cannot take, among others."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.model.apart import apart
from serving.model.artifact import Artifact
from serving.model.preprocess import example_items, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.conftest import TinyCascades

EXAMPLE = np.array([0])


class Model:
    """Fails on negative numbers, and on everything while it is `broken`."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.broken = False

    def __call__(self, items: Sequence[Array]) -> Logits:
        self.sizes.append(len(items))
        if self.broken or any(item[0] < 0 for item in items):
            raise ValueError("cannot take this")
        return np.array([[item[0], 1.0] for item in items], dtype=np.float32)


def test_a_sound_batch_runs_once() -> None:
    model = Model()
    assert apart(model, EXAMPLE)([np.array([1]), np.array([2])]).tolist() == [[1, 1], [2, 1]]
    assert model.sizes == [2]


@pytest.mark.parametrize("numbers", [[-1], [1, -1, 3], [-1, -2]])
def test_an_item_that_fails_has_no_logits_and_the_others_have_theirs(
    numbers: list[int], logged: list[logging.LogRecord]
) -> None:
    logits = apart(Model(), EXAMPLE)([np.array([number]) for number in numbers])
    for number, row in zip(numbers, logits, strict=True):
        assert np.isnan(row).all() if number < 0 else row.tolist() == [number, 1]
    (said,) = logged
    assert said.exc_info is not None, "the cause is in the log"


def test_a_model_that_fails_on_everything_says_so() -> None:
    model = Model()
    model.broken = True
    with pytest.raises(ValueError, match="cannot take"):
        apart(model, EXAMPLE)([np.array([1]), np.array([2])])


@pytest.mark.parametrize("role", ["screen", "expert"])
def test_a_token_that_the_model_lacks(tiny_cascades: TinyCascades, role: str) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", role))
    runner = Runner(Session(artifact), preprocessor(artifact))
    good, bad = np.array([2, 5, 3]), np.array([2, 10_000_000, 3])
    run = apart(runner.run, example_items(artifact.manifest.settings)[0])
    first, second, third = run([good, bad, good])
    assert np.isnan(second).all()
    assert first.tolist() == third.tolist() == runner.run([good])[0].tolist()
