"""Promises about one label, as counts: how many items there are to break them, and how many do at a threshold.

Each is a share of items that have something in common, so its test is the exact binomial one on those items alone. A
threshold is taken only where all promises pass at the same level delta. That needs no smaller level for each of them:
at the first threshold of the fixed sequence that is unsafe, some promise is broken, and to take it, its own test would
have to pass, which happens with probability delta at most (an intersection-union test, Berger 1982).

Near a label with a promise of its own the screen may need more confidence. Such floors are chosen on the selection set,
so the sequence of thresholds is fixed before the certification set is read, as it has to be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

from optimize.bounds import LabelPromiseRecipe
from optimize.judge.stages import Stages

Flags = NDArray[np.bool_]


class Counted(NamedTuple):
    """How many items a share is of, and how many of them break its promise."""

    n: int
    misses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A promise about `label` on one split; `kind`, `missed_as` and `alpha` as in `LabelPromise`.

    `ours` and `theirs` say whether screen and expert give the label, `wrong` whether trusting the screen breaks the
    promise, each [items]. `guarded`: the labels of the screen by which it can be broken.
    """

    label: str
    kind: Literal["missed", "false"]
    missed_as: str | None
    alpha: float
    ours: Flags
    theirs: Flags
    wrong: Flags
    guarded: tuple[str, ...]

    def at(self, trusted: Flags) -> Counted:
        """The counts where the screen's answers to the `trusted` items go out, and the expert's to all others."""
        of = self.theirs if self.kind == "missed" else np.where(trusted, self.ours, self.theirs)
        return Counted(int(of.sum()), int((self.wrong & trusted).sum()))

    def passes(self, trusted: Flags, delta: float) -> bool:
        """Whether the test at level `delta` passes."""
        n, misses = self.at(trusted)
        return bool(binom.cdf(misses, n, self.alpha) <= delta)


def claims_of(promises: Sequence[LabelPromiseRecipe], stages: Stages) -> list[Claim]:
    """The promises of a recipe on one split, whose stages have names for their labels."""
    return [claim for promise in promises for claim in _claims_of(promise, stages)]


def _claims_of(promise: LabelPromiseRecipe, stages: Stages) -> Iterator[Claim]:
    ours, theirs = (_given(decided, promise.label, stages.labels) for decided in stages.decisions)
    others = tuple(label for label in stages.labels if label != promise.label)
    if promise.max_missed is not None:
        wrong = theirs & ~ours
        if promise.missed_as is not None:
            wrong &= _given(stages.decisions[0], promise.missed_as, stages.labels)
        yield Claim(
            label=promise.label,
            kind="missed",
            missed_as=promise.missed_as,
            alpha=promise.max_missed,
            ours=ours,
            theirs=theirs,
            wrong=wrong,
            guarded=(promise.missed_as,) if promise.missed_as is not None else others,
        )
    if promise.max_false is not None:
        yield Claim(
            label=promise.label,
            kind="false",
            missed_as=None,
            alpha=promise.max_false,
            ours=ours,
            theirs=theirs,
            wrong=ours & ~theirs,
            guarded=(promise.label,),
        )


def _given(decided: NDArray[np.generic], label: str, labels: Sequence[str]) -> Flags:
    place = labels.index(label)
    return np.asarray(decided == place if decided.ndim == 1 else decided[:, place] == 1)


def floors(
    claims: Sequence[Claim], confidence: NDArray[np.float64], tried: Sequence[float], delta: float
) -> dict[str, float]:
    """For each guarded label the lowest of the thresholds `tried` at which the promises about it seem safe.

    `claims` and `confidence` [items] are of the selection set. Safe means: the test passes at the level delta squared,
    or there is no miss, where the set is too small for that. At the level delta a floor would fail on the certification
    set about every other time, and then no label could have a lower threshold.
    """
    found: dict[str, float] = {}
    for claim in claims:
        least = max(tried)
        for threshold in sorted(tried, reverse=True):
            trusted = ~(confidence < threshold)
            if claim.at(trusted).misses and not claim.passes(trusted, delta**2):
                break
            least = threshold
        for label in claim.guarded:
            found[label] = max(least, found.get(label, 0.0))
    return {label: floor for label, floor in found.items() if floor > 0}
