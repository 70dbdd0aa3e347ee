"""The comparison of ways to quantize a BERT, on the tiny cascade."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx

from benchmarks import bert_int8
from benchmarks.bert_int8 import DYNAMIC, NBITS, PLAIN, ROWS, WAYS
from optimize.models.graphs import range_of_batch
from tests.conftest import TinyCascades
from tests.optimize.conftest import reopened, result
from tests.optimize.steps.test_export import run


def test_every_way_is_timed_and_only_dynamic_ranges_depend_on_company(
    tiny_recipes: dict[str, Path], tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    build = reopened("tiny-text", tiny_recipes, tiny_cascades)
    paths = bert_int8.graphs(build, tmp_path)
    models = {way: onnx.load(path) for way, path in paths.items()}
    assert [way for way, model in models.items() if range_of_batch(model)] == [DYNAMIC]
    rows = {row["way"]: row for row in bert_int8.measured(build, paths, rounds=5)}
    assert list(rows) == list(WAYS)
    assert rows[PLAIN]["fp32_gap"] == 0
    for way, row in rows.items():
        assert (row["moved"] > 1e-4) is (way == DYNAMIC)
        assert row["ms_alone"] > 0 < row["ms_in_batches"]
        assert way == PLAIN or 0 < row["fp32_gap"] < 0.1
    operators = [node.op_type for node in models[ROWS].graph.node]
    assert operators.count("MatMulIntegerToFloat") == len(
        [node for node in models[DYNAMIC].graph.node if node.op_type == "MatMulInteger"]
    )
    assert {"MatMulInteger", "DynamicQuantizeLinear"}.isdisjoint(operators)
    assert "MatMulNBits" in {node.op_type for node in models[NBITS].graph.node}


def test_rows_have_scales_of_their_own(tiny_recipes: dict[str, Path], tiny_cascades: TinyCascades) -> None:
    """A text keeps its logits whatever stands beside it."""
    build = reopened("tiny-text", tiny_recipes, tiny_cascades)
    graph = bert_int8.by_rows(onnx.load(result(build, "expert/quantize").path))
    path = build.folder / "rows.onnx"
    onnx.save(graph, path)
    items = [
        item for item in build.prepared("selection").items if len(item) == len(build.prepared("selection").items[0])
    ]
    alone = np.concatenate([run(path, build.preparer.collate([item])) for item in items])
    np.testing.assert_allclose(run(path, build.preparer.collate(items)), alone, atol=1e-5)


def test_the_table_has_a_row_for_each_graph() -> None:
    row: bert_int8.Row = {
        "recipe": "demo-text",
        "way": "static, entropy",
        "size_bytes": 59_266_436,
        "ms_alone": 2.3,
        "ms_in_batches": 1.296,
        "moved": 0.0,
        "flips": 0,
        "fp32_gap": 0.0031,
    }
    *_, line = bert_int8.table([row]).splitlines()
    assert line == "| demo-text | static, entropy | 59.3 | 2.30 | 1.30 | 0 | 0 | 0.0031 |"
