from __future__ import annotations

import pytest

from optimize.data.readers import FilesData
from optimize.judge.operating_point import upper_bound
from optimize.start.promises import ALPHAS, DELTA, alpha_for, bounds, least_items, split_sizes


def test_299_items_certify_one_per_cent_without_a_miss() -> None:
    assert least_items(0.01) == 299
    (misses, bound), *_ = bounds(299)
    assert misses == 0
    assert bound <= 0.01 < upper_bound(0, 298, DELTA)


@pytest.mark.parametrize("items", [20, 60, 150, 300, 500, 5000])
def test_alpha_is_the_smallest_that_holds_with_a_miss(items: int) -> None:
    chosen = alpha_for(items)
    assert upper_bound(1, items, DELTA) <= chosen or chosen == ALPHAS[-1]
    assert all(upper_bound(1, items, DELTA) > alpha for alpha in ALPHAS if alpha < chosen)


def test_sizes_of_splits() -> None:
    data = FilesData(source="files", train="rows.csv")
    own = split_sizes(1000, None, data)
    assert own == {"holdout": 150, "selection": 128, "certification": 128, "calibration": 148, "train": 446}
    assert sum(own.values()) == 1000
    apart = data.model_copy(update={"selection_from": "holdout", "selection_share": 0.25, "certification_share": 0.25})
    sizes = split_sizes(1000, 400, apart)
    assert (sizes["holdout"], sizes["selection"], sizes["certification"]) == (200, 100, 100)
    assert sizes["train"] + sizes["calibration"] == 1000
