"""What a run measured: all that the report is made from, beside the build itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optimize.data.splits import Split
from optimize.judge.gates import Verdict
from optimize.judge.operating_point import Stages
from optimize.judge.quality import accuracy
from optimize.judge.search import Trial
from optimize.judge.timing import Latency
from optimize.results import Result, Stage
from serving.arrays import Logits
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact
from serving.model.head import Decisions, Head, head_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Figures of a run; logits are [items, labels] by the name of the result."""

    latency: Mapping[str, Latency]
    verdicts: Sequence[Verdict]
    on_selection: Mapping[str, Logits]
    selection_targets: Decisions
    heads: Mapping[str, Head]
    """By the name of the result; what reads its logits."""
    certification: Stages
    holdout: Mapping[str, Logits]
    """Also under "screen" and "expert", as their default variants are served."""
    holdout_split: Split
    artifacts: Mapping[Stage, Artifact]
    defaults: Mapping[Stage, Result]
    """The graph behind the default variant of each stage on the CPU."""
    point: OperatingPoint
    trials: Sequence[Trial]
    chosen_trial: Trial | None
    failed: Sequence[str]
    command: str

    @property
    def served(self) -> Stages:
        """Both stages on the holdout, as their default variants are served."""
        screen, expert = (head_of(self.artifacts[stage].manifest) for stage in ("screen", "expert"))
        labels = self.artifacts["screen"].manifest.labels
        return Stages(
            self.holdout["screen"], self.holdout["expert"], self.holdout_split.targets, screen, expert, labels
        )

    def row(self, result: Result) -> dict[str, Any]:
        """One result as JSON values; the `accuracy` of label sets is micro F1.

        `latency_ms` is None for a graph for a GPU on a machine without one.
        """
        return {
            "name": result.name,
            "runtime": result.computed_in,
            "precision": result.precision,
            "accuracy": round(
                accuracy(self.holdout[result.name], self.holdout_split.targets, self.heads[result.name]), 5
            ),
            "size_bytes": result.size_bytes,
            "latency_ms": self.latency[result.name].as_dict() if result.name in self.latency else None,
        }
