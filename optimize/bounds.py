"""What a graph and a cascade must reach, and what is promised: [gates], [quality] and [operating_point] of a recipe."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from optimize.results import Stage
from serving.model.artifact import Runtime


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Gates(_Table):
    """Parity, accuracy and speed that a graph must reach to be published, measured on the selection set."""

    max_accuracy_drop: float = Field(default=0.005, ge=0, le=1)
    """Against the plain export, as a share."""
    min_speedup: float = Field(default=1.05, ge=0)
    """Against the plain export; above 1, so that noise does not choose between equally fast graphs."""
    max_logit_gap: float = Field(default=1e-3, gt=0)
    """Parity of a float32 graph: the largest difference of a logit from PyTorch's."""
    max_logit_gap_share: float = Field(default=0.25, gt=0)
    """Parity of INT8, fp16 and bf16 graphs: the mean difference of a logit, in parts of the logits' spread."""
    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Parity of INT8, fp16 and bf16 graphs: the share of items that get PyTorch's label."""
    # Left out of the recipe's digest where nothing is chosen.
    runtimes: tuple[Runtime, ...] = Field(default=("onnxruntime",), exclude_if=("onnxruntime",).__eq__)
    """What every graph for the CPU is run in and measured in; a runtime that is faster than ONNX Runtime by
    `min_speedup` makes a variant of its own, and the fastest variant is the default."""

    @model_validator(mode="after")
    def _measures_against_onnxruntime(self) -> Gates:
        if "onnxruntime" not in self.runtimes or len(set(self.runtimes)) < len(self.runtimes):
            raise ValueError(
                'runtimes must name "onnxruntime", which every service has, and each runtime once; as in '
                '["onnxruntime", "openvino"]'
            )
        return self


class QualityGate(_Table):
    """Shares that may be lost on the holdout; None switches a gate off.

    The recall gate skips labels with fewer than `min_recall_items` items in the holdout, where one item would decide,
    unless `watch_labels` names them.
    """

    max_accuracy_drop: float | None = Field(default=0.01, ge=0, le=1)
    max_macro_f1_drop: float | None = Field(default=0.03, ge=0, le=1)
    max_recall_drop: float | None = Field(default=0.05, ge=0, le=1)
    min_recall_items: int = Field(default=30, ge=1)
    watch_labels: tuple[str, ...] = Field(default=(), exclude_if=lambda labels: not labels)
    """Labels whose recall always counts, however few items they have."""

    @model_validator(mode="after")
    def _watched_labels_have_a_bound(self) -> QualityGate:
        if self.watch_labels and self.max_recall_drop is None:
            raise ValueError("watch_labels needs max_recall_drop, the recall that they may lose; set it")
        return self


class Quality(_Table):
    """The quality gates: expert and screen against the teacher, the cascade against the expert."""

    expert: QualityGate = QualityGate()
    # A screen may lose more: it defers where it is unsure, and the cascade has its own gate.
    screen: QualityGate = QualityGate(max_accuracy_drop=0.2, max_macro_f1_drop=0.25, max_recall_drop=0.5)
    cascade: QualityGate = QualityGate()

    def of(self, stage: Stage) -> QualityGate:
        """The gate of the expert or the screen."""
        return self.expert if stage == "expert" else self.screen


class LabelPromiseRecipe(_Table):
    """What must hold of one label, against the expert; see `LabelPromise` of `serving.cascade.deferral`."""

    label: str
    max_missed: float | None = Field(default=None, gt=0, lt=1)
    """Of the items that the expert calls so, the share that may be answered otherwise."""
    missed_as: str | None = None
    """Count only those answered with this label."""
    max_false: float | None = Field(default=None, gt=0, lt=1)
    """Of the items that are answered so, the share that the expert may call otherwise."""

    @model_validator(mode="after")
    def _promises_something(self) -> LabelPromiseRecipe:
        if self.max_missed is None and self.max_false is None:
            raise ValueError("a promise about a label needs max_missed, max_false or both; set one")
        if self.missed_as is not None and (self.max_missed is None or self.missed_as == self.label):
            raise ValueError("missed_as needs max_missed, and another label than the promise's own; mend it")
        return self


class OperatingPointRecipe(_Table):
    """The promise that the deferral threshold must keep; see `optimize.judge.operating_point`."""

    alpha: float = Field(default=0.01, gt=0, lt=1)
    """Share of all requests that may get another answer than the expert's because the screen was trusted."""
    delta: float = Field(default=0.05, gt=0, lt=1)
    """Probability that the promise is false."""
    max_escalation_share: float = Field(default=1.0, ge=0, le=1)
    """Give no promise that needs a larger escalation share."""
    # Left out of the recipe's digest where there is none.
    labels: tuple[LabelPromiseRecipe, ...] = Field(default=(), exclude_if=lambda promises: not promises)
    """Promises about single labels, beside the one about all requests."""

    @property
    def named_labels(self) -> tuple[str, ...]:
        """The labels that promises name."""
        named = (name for each in self.labels for name in (each.label, each.missed_as) if name is not None)
        return tuple(dict.fromkeys(named))
