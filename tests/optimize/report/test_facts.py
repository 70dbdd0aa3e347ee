from __future__ import annotations

from pathlib import Path

import numpy as np

from optimize.data.splits import Split
from optimize.judge.operating_point import Stages
from optimize.judge.timing import Latency
from optimize.report.facts import Facts
from optimize.results import Result
from serving.model.head import SOFTMAX
from tests.points import make_point

NOTHING = np.zeros((0, 2), dtype=np.float32)


def test_a_row_has_the_accuracy_on_the_holdout_and_a_latency_where_it_was_measured(tmp_path: Path) -> None:
    (tmp_path / "plain.onnx").write_bytes(b"1234")
    plain = Result("screen", "export", tmp_path / "plain.onnx", "key")
    half = Result("screen", "fuse-fp16", tmp_path / "plain.onnx", "key", "fp16")
    logits = np.array([[2, 1], [0, 3], [4, 0]], dtype=np.float32)
    targets = np.array([0, 1, 1])
    facts = Facts(
        latency={plain.name: Latency(2.0, 1.5, 2.5, 7)},
        verdicts=[],
        on_selection={},
        selection_targets=targets,
        heads={plain.name: SOFTMAX, half.name: SOFTMAX},
        certification=Stages(NOTHING, NOTHING, targets[:0]),
        holdout={plain.name: logits, half.name: logits},
        holdout_split=Split("holdout", ["a", "b", "c"], targets, ("1", "2", "3"), frozenset()),
        artifacts={},
        defaults={"screen": plain},
        point=make_point(),
        trials=[],
        chosen_trial=None,
        failed=[],
        command="python -m optimize run",
    )
    assert facts.row(plain) == {
        "name": "screen/export",
        "runtime": "ONNX Runtime",
        "precision": "fp32",
        "accuracy": 0.66667,
        "size_bytes": 4,
        "latency_ms": {"median_ms": 2.0, "lower_quartile_ms": 1.5, "upper_quartile_ms": 2.5, "rounds": 7},
    }
    assert facts.row(half)["latency_ms"] is None
