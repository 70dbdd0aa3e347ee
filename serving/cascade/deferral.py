"""The rule that decides between screen and expert, and what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import ArtifactError
from serving.model.answer import Answer
from serving.model.artifact import OPERATING_POINT, VariantName

COUNTED_ITEMS = 10_000_000
"""A promise that needs more items than these does not say how many."""


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Promise(_Frozen):
    """A bound on wrong trust in the screen, measured on `n` items of the certification set.

    With confidence 1 - `delta`, at most a share `alpha` of all requests get an answer that differs from the expert's
    because the screen was trusted.
    """

    alpha: float = Field(gt=0, lt=1)
    delta: float = Field(gt=0, lt=1)
    certified: bool
    n: int = Field(ge=1)
    misses: int = Field(ge=0)
    """How many of the n the screen kept and answered differently from the expert."""
    upper_bound: float = Field(ge=0, le=1)
    """One-sided Clopper-Pearson bound on the share of misses, at confidence 1 - delta."""
    needed_n: int | None = None
    """If it is not certified: how many items would do at the same share of misses; None if no number would.

    A number above COUNTED_ITEMS stands for all that are larger.
    """
    escalation_needed: float | None = None
    """If only the limit on escalation prevents it: the share of requests that would have to escalate."""
    max_escalation_share: float = Field(default=1.0, ge=0, le=1)
    thresholds_tried: int = Field(ge=1)
    method: str

    @property
    def statement(self) -> str:
        """The promise in one sentence, or why there is none."""
        if self.certified:
            return (
                f"certified: with confidence {100 * (1 - self.delta):g}% at most {self.alpha:.2%} of all requests get "
                "an answer that differs from the expert's because the screen was trusted "
                f"(n = {self.n}, {self.misses} misses)"
            )
        if self.escalation_needed is not None:
            return (
                f"not certified: it would take escalating {self.escalation_needed:.1%} of all requests, at most "
                f"{self.max_escalation_share:.1%} are allowed; allow more, or a larger alpha (n = {self.n})"
            )
        if self.needed_n is None:
            return (
                f"not certified: the screen was trusted and differed from the expert on {self.misses} of {self.n} "
                f"items, more than {self.alpha:.2%}; allow more escalation, or a larger alpha"
            )
        counted = self.needed_n <= COUNTED_ITEMS
        wanted = f"{self.needed_n}" if counted else f"more than {COUNTED_ITEMS:,}"
        return f"not certified: n is too small, {wanted} are needed (n = {self.n}, {self.misses} misses)"


class LabelPromise(_Frozen):
    """A bound on wrong trust in the screen where one label is concerned, tested on `n` items of the certification set.

    `missed`: of the items to which the expert gives `label`, at most a share `alpha` are answered without it because
    the screen was trusted (one less its recall against the expert); with `missed_as`, only those answered as that.
    `false`: of the items that are answered with `label`, the expert gives it to all but a share `alpha` (one less its
    precision). With confidence 1 - `delta` all of an operating point's promises hold together.
    """

    label: str
    kind: Literal["missed", "false"]
    missed_as: str | None = None
    alpha: float = Field(gt=0, lt=1)
    delta: float = Field(gt=0, lt=1)
    certified: bool
    n: int = Field(ge=0)
    """The items that the share is of."""
    misses: int = Field(ge=0)
    upper_bound: float = Field(ge=0, le=1)
    """One-sided Clopper-Pearson bound at confidence 1 - delta."""
    needed_n: int | None = None
    """If it is not certified: how many of its items would do at the same share; None if no number would."""

    @property
    def statement(self) -> str:
        """The promise in one sentence, or why there is none."""
        if self.kind == "false":
            said = f"of the items that are answered {self.label} the expert calls at most {self.alpha:.2%} otherwise"
        else:
            how = f"as {self.missed_as}" if self.missed_as else "otherwise"
            said = f"of the items that the expert calls {self.label} at most {self.alpha:.2%} are answered {how}"
        counted = f"n = {self.n}, {self.misses} misses"
        if self.certified:
            return f"certified: with confidence {100 * (1 - self.delta):g}% {said} ({counted})"
        if self.needed_n is None:
            why = "too many are; allow more escalation, or a larger share"
        elif self.needed_n > self.n:
            few = f"{self.needed_n:,}" if self.needed_n <= COUNTED_ITEMS else f"more than {COUNTED_ITEMS:,}"
            why = f"n is too small, {few} such items are needed; bring more of them, or allow a larger share"
        else:
            why = "no threshold kept all promises together; allow more escalation, or larger shares"
        return f"not certified: {said}: {why} ({counted})"


class Reference(_Frozen):
    """The screen's confidences on the selection set: the share of items in each bin. `edges` between bins ascend."""

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    n: int = Field(ge=1)


class Band(_Frozen):
    """How far the last `window` items of a running service may differ before its promise is in doubt."""

    max_psi: float = Field(default=0.2, gt=0)
    """Population stability index of the confidences; by convention, one acts on a shift above 0.2."""
    lowest_escalation_share: float = Field(ge=0, le=1)
    highest_escalation_share: float = Field(ge=0, le=1)
    window: int = Field(default=2000, ge=1)
    min_n: int = Field(default=500, ge=1)
    """With fewer items there is no verdict. The band is wide enough for samples of this size."""


class OperatingPoint(_Frozen):
    """The deferral threshold, the pair it was chosen for, and its promise. A model of its own in the store."""

    threshold: float = Field(ge=0.0)
    """Answers with a confidence below it defer to the expert. Above 1 everything defers, at 0 nothing does."""
    # What follows is left out where there is none, so that a point without it has the digest that it always had.
    label_thresholds: dict[str, float] = Field(default_factory=dict, exclude_if=lambda thresholds: not thresholds)
    """Higher thresholds, by the label that the screen gives."""
    screen_temperature: float = Field(default=1.0, gt=0)
    expert_temperature: float = Field(default=1.0, gt=0)
    """Logits are divided by the temperature before the softmax that confidences come from."""
    screen_digest: str
    expert_digest: str
    screen_variant: VariantName
    expert_variant: VariantName
    """The variants that ran when the promise was made."""
    escalation_share: float = Field(ge=0.0, le=1.0)
    """The share of the selection set that defers."""
    promise: Promise
    certified_thresholds: tuple[float, ...] = Field(default=(), exclude_if=lambda thresholds: not thresholds)
    """Those that passed their test, ascending from `threshold`; empty where none did, or they were not kept."""
    label_promises: tuple[LabelPromise, ...] = Field(default=(), exclude_if=lambda promises: not promises)
    certified_on: Literal["recipe", "traffic"] = Field(default="recipe", exclude_if="recipe".__eq__)
    """Whose items the promise was tested on: the recipe's certification set, or unlabelled traffic."""
    calibration: dict[str, Any] = Field(default_factory=dict)
    """Expected calibration error of both stages before and after scaling, on the certification set."""
    reference: Reference
    band: Band

    @classmethod
    def read(cls, folder: Path) -> OperatingPoint:
        """Read operating-point.json in its folder. Raises ArtifactError when it is missing or malformed."""
        path = folder / OPERATING_POINT
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ArtifactError(
                f"{folder} has no {OPERATING_POINT}: a screen is served with the threshold chosen for it; "
                "run `python -m optimize operating-point RECIPE`"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ArtifactError(
                f"{path}: {where}: {first['msg']}; run `python -m optimize operating-point RECIPE` and publish again"
            ) from None

    def require_pair(self, screen_digest: str, expert_digest: str) -> None:
        """Raise ArtifactError unless this point was chosen for exactly these two artifacts."""
        chosen_for, got = (self.screen_digest, self.expert_digest), (screen_digest, expert_digest)
        if chosen_for != got:
            raise ArtifactError(
                "the operating point was chosen for another pair of screen and expert "
                f"({chosen_for[0][:12]}, {chosen_for[1][:12]}; these are {got[0][:12]}, {got[1][:12]}); "
                "publish the three of one run with `python -m optimize publish RECIPE`, or choose it anew with "
                "`python -m optimize operating-point RECIPE`"
            )


def should_defer(answer: Answer, point: OperatingPoint) -> bool:
    """Whether the screen is too unsure of its answer."""
    threshold = point.threshold
    if point.label_thresholds and isinstance(answer.label, str):
        threshold = max(threshold, point.label_thresholds.get(answer.label, threshold))
    # Written so that a confidence of NaN defers.
    return not answer.confidence >= threshold
