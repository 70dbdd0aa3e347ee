"""Targets of one label and of several: their form, counts, and what a split keeps the share of."""

from __future__ import annotations

import numpy as np

from optimize.data.targets import counts_of, strata_of, targets_of

INDEX = {"fee": 0, "fraud": 1, "refund": 2}
SETS = [("fee",), ("fee", "refund"), (), ("refund", "fee"), ("fraud", "fee")]


def test_one_label_is_an_index_and_several_are_a_row_of_booleans() -> None:
    one = targets_of(["fraud", "fee"], INDEX)
    assert (one.dtype, one.tolist()) == (np.int64, [1, 0])
    several = targets_of(SETS, INDEX)
    assert (several.dtype, several.astype(int).tolist()) == (
        np.bool_,
        [[1, 0, 0], [1, 0, 1], [0, 0, 0], [1, 0, 1], [1, 1, 0]],
    )


def test_every_label_of_a_set_counts() -> None:
    assert counts_of(targets_of(["fraud", "fee", "fraud"], INDEX), 3).tolist() == [1, 2, 0]
    assert counts_of(targets_of(SETS, INDEX), 3).tolist() == [4, 1, 2]


def test_a_set_stands_for_its_rarest_label_and_an_empty_one_for_none() -> None:
    assert strata_of(targets_of(SETS, INDEX), 3).tolist() == [0, 2, 3, 2, 1]
    assert strata_of(np.array([2, 0]), 3).tolist() == [2, 0]
