"""What a recipe is written from: the data, the checkpoint and its head, and perhaps a checkpoint for the student."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimize.start import choosing
from optimize.start.checkpoint import Found
from optimize.start.cost import StepTime
from optimize.start.facts import DataFacts
from optimize.start.promises import alpha_for, split_sizes
from optimize.start.source import Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What was found out about the checkpoint's head: whether it fits the labels, and how.

    `reason`: a sentence. `labels`: the order that the recipe must state; None where names tell it.
    """

    trained: bool
    reason: str
    labels: tuple[str, ...] | None = None
    trust_order: bool = False


@dataclass(frozen=True, slots=True)
class Subject:
    """All that a recipe is written from."""

    name: str
    source: Source
    facts: DataFacts
    checkpoint: Found
    head: Head
    image: Mapping[str, Any] | None = None
    """The table [image] where the checkpoint brings none."""
    step_time: StepTime | None = None
    student: Found | None = None
    """A checkpoint of its own that the screen's student starts from."""
    student_time: StepTime | None = None

    @property
    def origin(self) -> Found | None:
        """What the screen's student is made of; None for a ready graph, of which none can be made."""
        return self.student or (None if self.checkpoint.graph else self.checkpoint)

    @property
    def sizes(self) -> dict[str, int]:
        """About how many rows each split will have."""
        holdout = self.facts.holdout.rows if self.facts.holdout else None
        return split_sizes(self.facts.train.rows - self.facts.leaked, holdout, self.source.config)

    @property
    def max_tokens(self) -> int:
        """`max_tokens` of the recipe."""
        assert self.facts.lengths is not None, "texts have lengths"
        return choosing.max_tokens(self.facts.lengths, self.checkpoint.positions)

    @property
    def alpha(self) -> float:
        """The share that the operating point promises, which the rows can certify."""
        return alpha_for(self.sizes["certification"])

    @property
    def gates(self) -> choosing.Gates:
        """What may be lost."""
        sizes, counts = self.sizes, self.facts.labels
        rarest = round(min(counts.values()) / self.facts.train.rows * sizes["holdout"]) if counts else 1
        return choosing.gates(sizes, rarest, max(len(counts), 2), self.alpha, agreement=not self.facts.labelled)

    def training(self, step: str, of: Found) -> choosing.Training:
        """Length and pace of a step that trains a model as wide as `of`."""
        return choosing.training(step, self.sizes["train"], width=of.width)

    def trained(self, step: str, of: Found) -> dict[str, Any]:
        """The keys of a step that trains a model as wide as `of`."""
        chosen = self.training(step, of)
        values: dict[str, Any] = {"epochs": chosen.epochs, "learning_rate": chosen.learning_rate}
        return values if of.width else values | {"optimizer": "sgd"}

    def quantize(self) -> dict[str, Any]:
        """The step `quantize`."""
        tolerable = self.gates.tolerable_loss
        return {"step": "quantize"} | ({"tolerable_loss": tolerable} if tolerable is not None else {})
