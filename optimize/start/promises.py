"""What so many rows can certify, and the alpha to ask for."""

from __future__ import annotations

from optimize.data.sources import AnyData
from optimize.judge.operating_point import needed, upper_bound

DELTA = 0.05
ALPHAS = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""The shares that a recipe asks for, the smallest that the rows can certify."""
MISSES = (0, 1, 3, 10)
"""Misses among the certification items that the table of `inspect` is for."""
MISSES_ALLOWED = 1
"""With none allowed, the first trusted mistake would leave nothing but to defer everything."""


def split_sizes(rows: int, holdout_rows: int | None, data: AnyData) -> dict[str, int]:
    """About how many rows each split will have."""
    held = holdout_rows if holdout_rows is not None else round(data.holdout_share * rows)
    pool = rows if holdout_rows is not None else rows - held
    source = pool if data.selection_from == "train" else held
    selection = round(data.selection_share * source)
    certification = round(data.certification_share * source)
    if data.selection_from == "train":
        pool -= selection + certification
    else:
        held -= selection + certification
    calibration = min(data.calibration_size, pool // 4)
    return {
        "train": pool - calibration,
        "calibration": calibration,
        "selection": selection,
        "certification": certification,
        "holdout": held,
    }


def bounds(items: int) -> list[tuple[int, float]]:
    """For each number of misses, the smallest alpha that so many certification items certify."""
    return [(misses, upper_bound(misses, items, DELTA)) for misses in MISSES if misses < items]


def alpha_for(items: int) -> float:
    """The smallest of ALPHAS that the items certify with a miss among them; the largest where none is."""
    bound = upper_bound(MISSES_ALLOWED, items, DELTA)
    return next((alpha for alpha in ALPHAS if bound <= alpha), ALPHAS[-1])


def least_items(alpha: float) -> int:
    """The certification items that certify `alpha` without a miss."""
    items = needed(0.0, alpha, DELTA)
    assert items is not None, "no miss is below any alpha"
    return items
