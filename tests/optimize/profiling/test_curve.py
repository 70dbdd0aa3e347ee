from __future__ import annotations

import math
from typing import Any

import pytest

from optimize.profiling.curve import curve_of, knee, knees_of
from optimize.profiling.subject import Cell
from tests.optimize.profiling.conftest import EXPERT, SCREEN

SIZES = (1, 2, 4, 8, 16, 32, 64)


@pytest.mark.parametrize(("fixed_ms", "item_ms"), [(9.0, 1.0), (3.0, 1.0), (1.0, 0.05)])
def test_the_knee_of_a_batch_with_fixed_costs_is_the_geometric_mean(fixed_ms: float, item_ms: float) -> None:
    def took(size: float) -> float:
        return fixed_ms + item_ms * size

    found, _ = knee(curve_of({Cell(0, size): [took(size)] * 3 for size in SIZES}))
    exact = (math.sqrt(took(SIZES[0]) * took(SIZES[-1])) - fixed_ms) / item_ms
    assert found in (max(size for size in SIZES if size <= exact), min(size for size in SIZES if size >= exact))


def test_a_knee_is_not_made_of_noise() -> None:
    flat = {Cell(0, size): [size * 0.9, size * 1.0, size * 1.1] for size in SIZES}
    flat[Cell(0, 8)] = [7.5, 7.9, 8.6]
    assert knee(curve_of(flat)) == (1, "no larger batch surely gives more throughput")
    free = {Cell(0, size): [5.0, 5.0, 5.0] for size in SIZES}
    assert knee(curve_of(free)) == (64, "throughput rises in proportion up to its peak there")
    (few,) = knees_of(curve_of({Cell(8, 1): [1.0], Cell(8, 2): [1.5]}))
    assert few == {"length": 8, "batch_size": None, "reason": "a knee takes at least 3 batch sizes, got 2"}


def test_every_shape_has_its_quantiles(profiled: dict[str, Any]) -> None:
    facts = profiled[EXPERT]
    assert set(facts["variants"]) == {"cpu-fp32", "cpu-int8"} or set(facts["variants"]) == {"cpu-fp32"}
    for found in facts["variants"].values():
        shapes = [(row["length"], row["batch_size"]) for row in found["curve"]]
        assert shapes == [(length, size) for length in (8, 24) for size in (1, 2, 4)]
        for row in found["curve"]:
            assert len(row["quantiles_ms"]) == len(facts["quantile_shares"]) == 21
            assert row["quantiles_ms"] == sorted(row["quantiles_ms"])
            assert 0 < row["lower_quartile_ms"] <= row["median_ms"] <= row["upper_quartile_ms"] <= row["p90_ms"]
            assert row["rounds"] == 6
        assert [row["length"] for row in found["knees"]] == [8, 24]
    assert {row["length"] for found in profiled[SCREEN]["variants"].values() for row in found["curve"]} == {0}
