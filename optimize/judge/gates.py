"""Third on the road, after `quality`: compares figures with the recipe's gates and chooses what is published.

`judge` decides on the selection set which graphs are published. `parity` and `quality_evidence` hold what was published
against its checkpoint and a reference; `verify` calls them on the holdout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from optimize.build import Build
from optimize.data.splits import Split
from optimize.errors import GateError
from optimize.judge.measure import on_gpu
from optimize.judge.quality import accuracy, compare, gaps, largest_gap, quality
from optimize.judge.quality_name import name_of, named
from optimize.judge.timing import Latency
from optimize.judge.watched import watched_recall
from optimize.models.decisions import head_for
from optimize.recipe import Gates, QualityGate
from optimize.results import ON_GPU, Precision, Result, Stage
from serving.arrays import Logits
from serving.model.artifact import Provider, Runtime, VariantName
from serving.model.head import SOFTMAX, Decisions, Head, Softmax

_VARIANTS: dict[tuple[Precision, Runtime], VariantName] = {
    ("fp32", "onnxruntime"): "cpu-fp32",
    ("int8", "onnxruntime"): "cpu-int8",
    ("fp16", "onnxruntime"): "gpu-fp16",
    ("bf16", "onnxruntime"): "gpu-bf16",
    ("fp32", "openvino"): "cpu-fp32-openvino",
    ("int8", "openvino"): "cpu-int8-openvino",
}
# A share is a sum of many rounded parts.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a graph is published, and the reasons against it; shares and milliseconds on the selection set.

    For label sets `accuracy_drop` is that of micro F1.
    """

    graph: str
    against: str
    """The result that the drop refers to: the plain export, or for the plain export its checkpoint."""
    published: bool
    reasons: tuple[str, ...]
    accuracy_drop: float
    speedup: float | None
    """Against the same, and in another runtime also against the same graph in ONNX Runtime: the smaller of both.

    None for a graph for a GPU on a machine without one.
    """
    logit_gap: float
    """Largest difference of a logit from the checkpoint's."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def judge(
    build: Build, stage: Stage, logits: Mapping[str, Logits], targets: Decisions, latency: Mapping[str, Latency]
) -> list[Verdict]:
    """A verdict for each graph of a stage. Raises GateError when the plain export itself fails parity.

    `logits` [items, labels] and `latency` are by the name of the result.
    """
    gates, words = build.recipe.gates, name_of(build.splits).words
    plain, *others = build.graphs(stage)
    checkpoint = build.checkpoint_of(stage)
    gap = largest_gap(logits[plain.name], logits[checkpoint.name])
    if not gap <= gates.max_logit_gap:
        raise GateError(
            f"{plain.name}: a logit differs by {gap:.2g} from {checkpoint.computed_in}'s, at most "
            f"{gates.max_logit_gap:.2g} is allowed (gates.max_logit_gap); nothing is published"
        )
    head = head_for(logits[checkpoint.name], targets)
    of_checkpoint, of_plain = (accuracy(logits[result.name], targets, head) for result in (checkpoint, plain))
    gain = latency[checkpoint.name].median_ms / latency[plain.name].median_ms
    verdicts = [Verdict(plain.name, checkpoint.name, True, (), of_checkpoint - of_plain, gain, gap)]
    for graph in others:
        drop = of_plain - accuracy(logits[graph.name], targets, head)
        speedup = _speedup([plain, *_same_graph(graph, others)], graph, latency)
        gap = largest_gap(logits[graph.name], logits[checkpoint.name])
        reasons = _reasons(graph, gates, drop, words, speedup, gap, checkpoint.computed_in)
        verdicts.append(Verdict(graph.name, plain.name, not reasons, reasons, drop, speedup, gap))
    return verdicts


def _same_graph(graph: Result, others: Sequence[Result]) -> list[Result]:
    """The result that runs a graph of another runtime in ONNX Runtime; none for a graph that runs there itself."""
    if graph.runtime == "onnxruntime":
        return []
    return [other for other in others if other.path == graph.path and other.runtime == "onnxruntime"]


def _speedup(slower: Sequence[Result], graph: Result, latency: Mapping[str, Latency]) -> float | None:
    """How much faster a graph is than the fastest of `slower`, whose first is the plain export."""
    if graph.provider == "CPUExecutionProvider":
        return min(latency[other.name].cost_ms for other in slower) / latency[graph.name].cost_ms
    if graph.name not in latency:
        return None
    return latency[on_gpu(slower[0].name)].median_ms / latency[graph.name].median_ms


def _reasons(
    graph: Result, gates: Gates, drop: float, words: str, speedup: float | None, gap: float, computed_in: str
) -> tuple[str, ...]:
    """The reasons against publishing a graph; empty when there are none. Written so that NaN fails."""
    reasons = []
    if speedup is None:
        reasons.append(f"{graph.precision} is for a GPU, and there is none here to measure it on")
    elif not speedup > gates.min_speedup:
        reasons.append(f"{speedup:.2f} times as fast as the graph it came from, more than {gates.min_speedup} is asked")
    if not drop <= gates.max_accuracy_drop + _ROUNDING:
        reasons.append(f"loses {drop:.2%} of {words}, at most {gates.max_accuracy_drop:.2%} is allowed")
    if graph.precision in ON_GPU and not math.isfinite(gap):
        reasons.append(f"a logit is not a finite number: some values of the model are too large for {graph.precision}")
    if graph.precision == "fp32" and not gap <= gates.max_logit_gap:
        reasons.append(
            f"a logit differs by {gap:.2g} from {computed_in}'s, at most {gates.max_logit_gap:.2g} is allowed"
        )
    return tuple(reasons)


def chosen_variants(
    graphs: Sequence[Result], verdicts: Sequence[Verdict], latency: Mapping[str, Latency]
) -> dict[VariantName, Result]:
    """The graphs to publish, by variant; where two compete for a variant, the one whose items cost less as served."""
    published = {verdict.graph for verdict in verdicts if verdict.published}
    measured = [graph for graph in graphs if graph.name in published]
    ordered = sorted(measured, key=lambda graph: -latency[graph.name].cost_ms)
    return {_VARIANTS[graph.precision, graph.runtime]: graph for graph in ordered}


def default_variant(
    chosen: Mapping[VariantName, Result], latency: Mapping[str, Latency], provider: Provider
) -> VariantName | None:
    """The fastest of the chosen variants for a provider; None when there is none."""
    fitting = [name for name, graph in chosen.items() if graph.provider == provider]
    return min(fitting, key=lambda name: latency[chosen[name].name].cost_ms, default=None)


def default_cpu_variant(chosen: Mapping[VariantName, Result], latency: Mapping[str, Latency]) -> VariantName:
    """The fastest of the chosen variants on the CPU."""
    name = default_variant(chosen, latency, "CPUExecutionProvider")
    assert name is not None, "the plain export is always published"
    return name


def parity(
    logits: Logits,
    checkpoint: Logits,
    precision: Precision,
    gates: Gates,
    head: Head = SOFTMAX,
    computed_in: str = "PyTorch",
) -> dict[str, Any]:
    """Logits [items, labels] of a variant against its checkpoint's: the gaps, and a sentence for each gate missed.

    `computed_in` is what computed the checkpoint's.

    In float32 the largest gap counts, below it the mean gap in parts of the logits' spread and the agreement.
    """
    figures = gaps(logits, checkpoint, head)
    if precision == "fp32":
        figure, allowed, says = figures["max_gap"], gates.max_logit_gap, f"a logit differs from {computed_in}'s by"
    else:
        figure, allowed = figures["mean_gap_share"], gates.max_logit_gap_share
        says = f"logits differ from {computed_in}'s, in parts of their spread, by"
    # Written so that NaN fails.
    failed = [] if figure <= allowed else [f"{says} {figure:.3g}, at most {allowed:.3g} is allowed"]
    if precision != "fp32" and not figures["agreement"] >= gates.min_agreement:
        what = "label" if isinstance(head, Softmax) else "label set"
        failed.append(
            f"gives {computed_in}'s {what} to {figures['agreement']:.2%} of the items, at least "
            f"{gates.min_agreement:.2%} is asked"
        )
    return {"output": "logits", **figures, "tolerance": allowed, "failed": failed}


def quality_evidence(
    ours: Decisions, theirs: Decisions, split: Split, labels: tuple[str, ...], gate: QualityGate, seed: int
) -> dict[str, Any]:
    """Quality of answers, alone and against a reference's on the same items, and a sentence for each gate missed.

    `ours` and `theirs` are label indices [items] or label sets [items, labels], as the targets of `split` are.
    """
    name = name_of(split)
    got, wanted = quality(ours, split.targets, labels), quality(theirs, split.targets, labels)
    paired = compare(ours, theirs, split.targets, seed=seed)
    counts = split.label_counts(labels)
    recall_drops = {
        label: wanted["recall"][label] - recall
        for label, recall in got["recall"].items()
        if counts[label] >= gate.min_recall_items and label not in gate.watch_labels
    }
    watched, failed = watched_recall(ours, theirs, split, labels, gate, seed)
    for what, drop, allowed in (
        (name.words, paired["accuracy_drop"], gate.max_accuracy_drop),
        ("macro F1", wanted["macro_f1"] - got["macro_f1"], gate.max_macro_f1_drop),
        *((f"recall of {label}", drop, gate.max_recall_drop) for label, drop in recall_drops.items()),
    ):
        if allowed is not None and not drop <= allowed + _ROUNDING:
            failed.append(f"loses {drop:.2%} of {what} on the holdout, at most {allowed:.2%} is allowed")
    return {
        "answers": named(got, name),
        "reference": named(wanted, name),
        "paired": named(paired, name),
        "gate": gate.model_dump(),
        "recall_not_held": [label for label in labels if label not in {*recall_drops, *watched}],
        **({"watched": watched} if gate.watch_labels else {}),
        "failed": failed,
    }


def require(failed: Sequence[str]) -> None:
    """Raise GateError with every gate that was missed, unless there is none."""
    if failed:
        raise GateError("nothing is published: " + "; ".join(failed))
