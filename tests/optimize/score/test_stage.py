from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from optimize.score.stage import ALONE_ROWS, Stage, best_batch_size
from serving.arrays import Array, Logits
from tests.optimize.score.tiny_models import tiny_cascade


def items(*lengths: int) -> list[Array]:
    """Texts of so many tokens; the first token is word number `length`, which the answer tells."""
    return [np.array([2 + length % 6] + [1] * (length - 1), dtype=np.int64) for length in lengths]


@pytest.mark.parametrize("alone", [False, True])
def test_answers_come_in_the_order_of_the_items(tmp_path: Path, alone: bool) -> None:
    stage = Stage(tiny_cascade(tmp_path / "cascade", alone=alone).screen.artifact, 1.0)
    every = items(*np.random.default_rng(0).integers(1, 9, size=200))
    with ThreadPoolExecutor(2) as pool:
        together = stage.answers(every, pool)
        one_by_one = [stage.answers([item], pool)[0] for item in every]
    assert [answer.label for answer in together] == [answer.label for answer in one_by_one]
    assert [a.confidence for a in together] == pytest.approx([a.confidence for a in one_by_one], abs=1e-6)
    assert len({answer.label for answer in together}) == 3
    assert stage.answers([], pool) == []


def test_a_batch_holds_items_of_about_one_length(tmp_path: Path) -> None:
    stage = Stage(tiny_cascade(tmp_path / "cascade").screen.artifact, 1.0)
    stage.batch_size = 4
    ran: list[list[int]] = []
    run = stage.run

    def noting(batch: Sequence[Array]) -> Logits:
        ran.append(sorted(map(len, batch)))
        return run(batch)

    stage.run = noting
    with ThreadPoolExecutor(1) as pool:
        stage.answers(items(1, 8, 2, 7, 1, 8, 2, 7, 1, 8, 2, 7), pool)
    assert ran == [[7, 8, 8, 8], [2, 2, 7, 7], [1, 1, 1, 2]]


def test_a_model_that_runs_items_alone_is_not_measured(tmp_path: Path) -> None:
    stage = Stage(tiny_cascade(tmp_path / "cascade", alone=True).screen.artifact, 1.0)
    taken: list[int] = []
    run = stage.run

    def noting(batch: Sequence[Array]) -> Logits:
        taken.append(len(batch))
        return run(batch)

    stage.run = noting
    with ThreadPoolExecutor(1) as pool:
        stage.answers(items(*[3] * 40), pool)
    assert stage.batch_size == 1
    assert taken == [ALONE_ROWS, ALONE_ROWS, 40 - 2 * ALONE_ROWS]


@pytest.mark.parametrize(
    ("fixed_s", "item_s", "best"),
    [(0.01, 0.0, 32), (0.01, 0.001, 32), (0.0, 0.002, 1), (0.0001, 0.01, 1), (2.0, 0.1, 1)],
)
def test_the_best_batch_is_the_one_in_which_an_item_takes_least(fixed_s: float, item_s: float, best: int) -> None:
    now_s = 0.0

    def run(batch: Sequence[Array]) -> Logits:
        nonlocal now_s
        now_s += fixed_s + item_s * len(batch)
        return np.zeros((len(batch), 2), dtype=np.float32)

    assert best_batch_size(run, items(*range(1, 9)), lambda: now_s) == best
