"""The comparison of ways to quantize weights, on the tiny cascades."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from benchmarks import int8
from optimize.judge.saturation import saturation, signed_factors
from tests.conftest import TinyCascades
from tests.optimize.conftest import reopened


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_every_way_is_timed_and_its_logits_compared(
    name: str,
    tiny_recipes: dict[str, Path],
    tiny_cascades: TinyCascades,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(int8, "ITEMS", 24)
    build = reopened(name, tiny_recipes, tiny_cascades)
    paths = int8.graphs(build, tmp_path)
    graphs = {way: onnx.load(path) for way, path in paths.items()}
    assert [saturation(graph) is None for graph in graphs.values()] == [True, False, True, True]
    assert [bool(signed_factors(graph)) for graph in graphs.values()] == [False, True, True, False]

    rows = int8.measured(name, paths, build.prepared("selection"), build.preparer.collate, rounds=2)
    assert [row["way"] for row in rows] == list(int8.WAYS)
    plain, whole, half, unsigned = rows
    assert plain["fp32_gap"] == plain["exact_gap"] == plain["saturated_gap"] == 0
    assert whole["saturated_gap"] > 0.005 > 1e-4 > max(half["saturated_gap"], unsigned["saturated_gap"])
    for row in (whole, half, unsigned):
        assert 0 < row["fp32_gap"] < 0.1
        assert row["exact_gap"] < 0.05
        assert all(0 < lower <= median <= upper for median, lower, upper in row["ms"].values())


def test_the_table_has_a_row_for_each_graph() -> None:
    row: int8.Row = {
        "recipe": "demo-text",
        "way": "fp32",
        "size_bytes": 1,
        "ms": {"1": [2.0, 1.5, 2.5], "8": [9.0, 8.0, 10.0]},
        "accuracy": 0.9,
        "fp32_gap": 0.0,
        "exact_gap": 0.0,
        "saturated_gap": 0.012,
    }
    *_, line = int8.table([row]).splitlines()
    assert line == "| demo-text | fp32 | 2.00 (1.50 to 2.50) | 9.00 (8.00 to 10.00) | 90.00% | 0 | 0 | 0.012 |"
