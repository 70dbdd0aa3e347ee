"""Gates: what is published is what was measured to be right, good enough and faster."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.data.splits import Split
from optimize.errors import GateError
from optimize.judge.gates import chosen_variants, default_variant, judge, parity, quality_evidence
from optimize.judge.measure import on_gpu
from optimize.judge.timing import Latency
from optimize.recipe import Gates, QualityGate
from optimize.results import Result
from serving.model.head import Sigmoid


def graph(name: str, precision: Any = "fp32", runtime: Any = "onnxruntime") -> Result:
    return Result("expert", name, Path(f"{name}.onnx"), "key", precision, runtime=runtime)


class FakeBuild:
    """Only what judging reads: the graphs of a role, their checkpoint, the gates, and what the data is."""

    multi_label = False

    def __init__(self, *graphs: Result, **gates: float) -> None:
        self._graphs = list(graphs)
        self.recipe = type("Recipe", (), {"gates": Gates(**gates)})
        self.splits = type("Splits", (), {"labels_from": "data", "multi_label": self.multi_label})

    def graphs(self, _role: str) -> list[Result]:
        return self._graphs

    def checkpoint_of(self, _role: str) -> Result:
        return Result("expert", "distill", Path("distill"), "key")


TARGETS = np.zeros(100, dtype=np.int64)
PLAIN = np.tile(np.array([1.0, 0.0], dtype=np.float32), (100, 1))


def wrong(count: int, logits: Any = PLAIN) -> Any:
    changed = logits.copy()
    changed[:count] = changed[:count, ::-1]
    return changed


def too_large() -> Any:
    """One item whose logits are infinite, so that its label stays the first."""
    return np.where(np.arange(len(PLAIN))[:, None] == 7, np.inf, PLAIN)


def verdict(precision: str, logits: Any, ms: float | None, **gates: float) -> Any:
    plain, other = graph("export"), graph("other", precision)
    latency = {plain.name: Latency(10, 9, 11, 5), on_gpu(plain.name): Latency(4, 4, 4, 5)}
    latency["expert/distill"] = Latency(30, 30, 30, 5)
    if ms is not None:
        latency[other.name] = Latency(ms, ms, ms, 5)
    known = {plain.name: PLAIN, other.name: logits, "expert/distill": PLAIN}
    first, second = judge(FakeBuild(plain, other, **gates), "expert", known, TARGETS, latency)  # type: ignore[arg-type]
    assert first.published, "the plain export is what is left when nothing else holds"
    assert (first.against, first.speedup, first.accuracy_drop) == ("expert/distill", 3.0, 0.0)
    return second


@pytest.mark.parametrize(
    ("precision", "logits", "ms", "reasons"),
    [
        ("int8", wrong(0), 5, []),
        ("int8", wrong(1), 5, ["loses 1.00% of accuracy, at most 0.50% is allowed"]),
        ("int8", wrong(0), 12, ["0.83 times as fast as the graph it came from, more than 1.05 is asked"]),
        ("int8", wrong(0), 9.7, ["1.03 times as fast"]),
        ("int8", wrong(5), 20, ["0.50 times as fast", "loses 5.00%"]),
        ("fp32", PLAIN + np.float32(0.01), 5, ["a logit differs by 0.01 from PyTorch's, at most 0.001 is allowed"]),
        ("int8", PLAIN + np.float32(0.01), 5, []),
        ("fp16", wrong(0), 2, []),
        ("fp16", wrong(0), 5, ["0.80 times as fast"]),
        (
            "fp16",
            too_large(),
            2,
            ["a logit is not a finite number"],
        ),
        ("fp16", wrong(0), None, ["fp16 is for a GPU, and there is none here to measure it on"]),
    ],
)
def test_what_is_not_published_and_why(precision: str, logits: Any, ms: float | None, reasons: list[str]) -> None:
    got = verdict(precision, logits, ms)
    assert got.published == (not reasons)
    assert len(got.reasons) == len(reasons)
    for said, expected in zip(got.reasons, reasons, strict=True):
        assert said.startswith(expected)


def test_gates_are_those_of_the_recipe() -> None:
    assert verdict("int8", wrong(3), 5, max_accuracy_drop=0.03).published
    assert not verdict("int8", wrong(0), 8, min_speedup=1.3).published


def test_an_export_that_is_not_the_checkpoint_stops_the_run() -> None:
    plain = graph("export")
    known = {plain.name: PLAIN, "expert/distill": PLAIN + np.float32(0.1)}
    with pytest.raises(GateError, match=r"expert/export: a logit differs by 0.1 .* nothing is published"):
        judge(
            FakeBuild(plain),
            "expert",
            known,
            TARGETS,
            {plain.name: Latency(1, 1, 1, 5), "expert/distill": Latency(1, 1, 1, 5)},
        )  # type: ignore[arg-type]


def test_the_faster_of_two_float_graphs_is_the_float_variant() -> None:
    plain, fused, int8, half = graph("export"), graph("fuse"), graph("q", "int8"), graph("h", "fp16")
    latency = {g.name: Latency(ms, ms, ms, 5) for g, ms in ((plain, 5), (fused, 4), (int8, 6), (half, 1))}
    verdicts: list[Any] = [type("V", (), {"graph": g.name, "published": True}) for g in (plain, fused, int8, half)]
    chosen = chosen_variants([plain, fused, int8, half], verdicts, latency)
    assert chosen == {"cpu-fp32": fused, "cpu-int8": int8, "gpu-fp16": half}
    assert default_variant(chosen, latency, "CPUExecutionProvider") == "cpu-fp32"
    assert default_variant(chosen, latency, "CUDAExecutionProvider") == "gpu-fp16"
    assert default_variant({"cpu-fp32": fused}, latency, "CUDAExecutionProvider") is None


def test_of_two_int8_graphs_of_an_expert_the_one_that_is_cheaper_as_served_is_the_variant() -> None:
    """Dynamic INT8 is faster for an item alone, and takes as long for each item of a batch."""
    plain, dynamic, static = graph("export"), graph("quantize", "int8"), graph("quantize-static", "int8")
    graphs = [plain, static, dynamic]
    verdicts: list[Any] = [type("V", (), {"graph": g.name, "published": True}) for g in graphs]
    for of_static, chosen in ((1.3, static), (2.4, dynamic)):
        times = ((plain, 7.2, 3.7), (dynamic, 2.2, 2.2), (static, 2.3, of_static))
        latency = {g.name: Latency(ms, ms, ms, 5, item_ms_at_8=at_8) for g, ms, at_8 in times}
        variants = chosen_variants(graphs, verdicts, latency)
        assert variants == {"cpu-fp32": plain, "cpu-int8": chosen}
        assert default_variant(variants, latency, "CPUExecutionProvider") == "cpu-int8"
    # Where batches are what makes the plain export cheap, it is served.
    latency[plain.name] = Latency(4, 4, 4, 5, item_ms_at_8=0.5)
    assert default_variant(variants, latency, "CPUExecutionProvider") == "cpu-fp32"


def test_the_speedup_of_an_expert_is_that_of_its_items_as_served() -> None:
    plain, other = graph("export"), graph("quantize", "int8")
    latency = {plain.name: Latency(4, 4, 4, 5, item_ms_at_8=1), other.name: Latency(2, 2, 2, 5, item_ms_at_8=2)}
    latency["expert/distill"] = Latency(30, 30, 30, 5)
    known = dict.fromkeys((plain.name, other.name, "expert/distill"), PLAIN)
    _, verdict = judge(FakeBuild(plain, other), "expert", known, TARGETS, latency)  # type: ignore[arg-type]
    assert (verdict.speedup, verdict.published) == (1.0, False)


LABELS = ("a", "b")


def split(targets: Any) -> Split:
    return Split("holdout", list(range(len(targets))), np.asarray(targets), tuple("x" * len(targets)), frozenset())


@pytest.mark.parametrize(
    ("wrong", "gate", "failed"),
    [
        (0, {}, []),
        (3, {"max_accuracy_drop": 0.03, "max_macro_f1_drop": 0.04, "max_recall_drop": 0.06}, []),
        (3, {"max_accuracy_drop": 0.02}, ["loses 3.00% of accuracy on the holdout, at most 2.00% is allowed"]),
        (3, {"max_accuracy_drop": None, "max_macro_f1_drop": 0.01}, ["loses 3.00% of macro F1"]),
        (3, {"max_accuracy_drop": None, "max_recall_drop": 0.01}, ["loses 6.00% of recall of a"]),
        (3, {"max_accuracy_drop": None, "max_recall_drop": 0.01, "min_recall_items": 51}, []),
    ],
)
def test_each_gate_says_what_was_lost_and_what_is_allowed(wrong: int, gate: Any, failed: list[str]) -> None:
    targets = np.repeat([0, 1], 50)
    answers = targets.copy()
    answers[:wrong] = 1
    free = {"max_macro_f1_drop": None, "max_recall_drop": None} | gate
    got = quality_evidence(answers, targets, split(targets), LABELS, QualityGate(**free), seed=1)
    assert len(got["failed"]) == len(failed)
    assert all(said.startswith(expected) for said, expected in zip(got["failed"], failed, strict=True))


def test_what_is_no_number_fails() -> None:
    nothing = np.full((4, 2), np.nan, dtype=np.float32)
    for precision in ("fp32", "int8"):
        assert parity(nothing, np.zeros((4, 2), dtype=np.float32), precision, Gates())["failed"]


def test_label_sets_are_held_to_their_micro_f1() -> None:
    targets = np.array([[True, False]] * 50 + [[True, True]] * 50)
    answers = targets.copy()
    answers[:10, 1] = True
    free = {"max_macro_f1_drop": None, "max_recall_drop": None}
    held = split(targets)
    got = quality_evidence(answers, targets, held, LABELS, QualityGate(**free, max_accuracy_drop=0.03), seed=1)
    (said,) = got["failed"]
    assert said == "loses 3.23% of micro F1 on the holdout, at most 3.00% is allowed"
    assert got["recall_not_held"] == []
    got = quality_evidence(targets[::-1], targets, held, LABELS, QualityGate(min_recall_items=51), seed=1)
    assert got["recall_not_held"] == ["b"]


def test_a_graph_that_gives_other_sets_loses_micro_f1() -> None:
    """The thresholds are those of the checkpoint, as they are served."""
    targets = np.array([[True, False], [False, True]] * 50)
    right = np.where(targets, 5.0, 3.0).astype(np.float32)
    plain, other = graph("export"), graph("other", "int8")
    latency = {name: Latency(ms, ms, ms, 5) for name, ms in ((plain.name, 10), (other.name, 5))}
    latency["expert/distill"] = Latency(30, 30, 30, 5)
    known = {plain.name: right, "expert/distill": right, other.name: right - np.float32(2)}
    build = type("OfSets", (FakeBuild,), {"multi_label": True})(plain, other)
    first, second = judge(build, "expert", known, targets, latency)
    assert (first.published, first.accuracy_drop) == (True, 0.0)
    assert second.reasons == ("loses 100.00% of micro F1, at most 0.50% is allowed",)


def test_parity_counts_equal_label_sets() -> None:
    head = Sigmoid((0.0, 2.0))
    checkpoint = np.array([[1.0, 1.0]] * 10, dtype=np.float32)
    moved = checkpoint + np.array([[0.0, 1.5]] + [[0.0, 0.0]] * 9, dtype=np.float32)
    assert parity(moved, checkpoint, "int8", Gates(max_logit_gap_share=1e12, min_agreement=0.9), head)["failed"] == []
    found = parity(moved, checkpoint, "int8", Gates(max_logit_gap_share=1e12, min_agreement=0.95), head)
    assert found["failed"] == ["gives PyTorch's label set to 90.00% of the items, at least 95.00% is asked"]


def test_a_ready_graph_is_named_as_what_it_runs_in() -> None:
    checkpoint = np.zeros((4, 2), dtype=np.float32)
    found = parity(checkpoint + np.float32(0.5), checkpoint, "fp32", Gates(), computed_in="ONNX Runtime")
    assert found["failed"] == ["a logit differs from ONNX Runtime's by 0.5, at most 0.001 is allowed"]


@pytest.mark.parametrize(
    ("in_openvino_ms", "reason", "default"),
    [
        (4.0, None, "cpu-int8-openvino"),
        # Faster than the plain export, and not than the same graph in ONNX Runtime.
        (5.5, "0.91 times as fast", "cpu-int8"),
        (12.0, "0.42 times as fast", "cpu-int8"),
    ],
)
def test_a_graph_in_another_runtime_must_be_faster_there(
    in_openvino_ms: float, reason: str | None, default: str
) -> None:
    plain, int8 = graph("export"), graph("quantize", "int8")
    other = graph("quantize", "int8", "openvino")
    assert other.name == "expert/quantize-openvino"
    latency = {name: Latency(ms, ms, ms, 5) for name, ms in ((plain.name, 10), (int8.name, 5), ("expert/distill", 30))}
    latency[other.name] = Latency(in_openvino_ms, in_openvino_ms, in_openvino_ms, 5)
    known = dict.fromkeys((plain.name, int8.name, other.name, "expert/distill"), PLAIN)
    graphs = [plain, int8, other]
    verdicts = judge(FakeBuild(*graphs), "expert", known, TARGETS, latency)  # type: ignore[arg-type]
    assert [said.startswith(str(reason)) for said in verdicts[2].reasons] == ([] if reason is None else [True])
    chosen = chosen_variants(graphs, verdicts, latency)
    assert default_variant(chosen, latency, "CPUExecutionProvider") == default
    assert ("cpu-int8-openvino" in chosen) is (reason is None)


def test_a_float_graph_in_another_runtime_must_hold_parity_there() -> None:
    plain, other = graph("export"), graph("export", runtime="openvino")
    latency = {name: Latency(9, 9, 9, 5) for name in (plain.name, "expert/distill")}
    latency[other.name] = Latency(1, 1, 1, 5)
    known = {plain.name: PLAIN, other.name: PLAIN + np.float32(0.01), "expert/distill": PLAIN}
    _, said = judge(FakeBuild(plain, other), "expert", known, TARGETS, latency)  # type: ignore[arg-type]
    assert said.reasons == ("a logit differs by 0.01 from PyTorch's, at most 0.001 is allowed",)
