"""Choose the deferral threshold and state its promise.

The promise: with confidence 1 - delta, at most a share of alpha of all requests get a final answer that differs from
the expert's because the screen was trusted.

It is tested as in Learn then Test (Angelopoulos et al. 2021, arXiv:2110.01052). The thresholds to try are fixed before
the certification set is read. They are tested in order from the safest, at which everything defers, each exactly (a
binomial tail, Clopper and Pearson 1934) at level delta. Testing stops at the first that fails. This fixed sequence
corrects for the number of tests: a false promise is possible only if the first unsafe threshold passes.

The test is exact if the items of the certification set are drawn as requests are, independently of each other and of
every earlier choice. Near-duplicates, which share a split, are not independent and weaken it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc
from scipy.stats import beta, binom

from optimize.judge.temperature import calibration_error, fit_temperature
from optimize.recipe import OperatingPointRecipe
from serving.arrays import Logits
from serving.cascade.deferral import COUNTED_ITEMS, Band, OperatingPoint, Promise, Reference
from serving.model.head import SOFTMAX, Decisions, Head, differ

# Escalation shares on the selection set, dense where few items defer; their confidences are the thresholds to try.
SHARES = np.unique(np.concatenate([np.geomspace(0.001, 0.1, 40), np.linspace(0, 1, 101)]))
DEFER_ALL = 1.0 + 1e-6
METHOD = "fixed-sequence testing (Learn then Test) with exact binomial tails"
REFERENCE_BINS = 10


@dataclass(frozen=True, slots=True)
class Stages:
    """Logits [items, labels] of screen and expert on one split, its targets, and the heads that read the logits."""

    screen: Logits
    expert: Logits
    targets: Decisions
    screen_head: Head = SOFTMAX
    expert_head: Head = SOFTMAX

    @property
    def decisions(self) -> tuple[Decisions, Decisions]:
        """What the screen and the expert answer."""
        return self.screen_head.decide(self.screen), self.expert_head.decide(self.expert)

    @property
    def differs(self) -> NDArray[np.bool_]:
        """Whether the screen's label, or its label set, is not the expert's, [items]."""
        return differ(*self.decisions)

    def confidences(self, temperature: float) -> NDArray[np.float64]:
        """The screen's, [items]."""
        return self.screen_head.confidences(self.screen, temperature)


def choose(
    selection: Stages,
    certification: Stages,
    config: OperatingPointRecipe,
    chosen_for: Mapping[str, Any],
) -> OperatingPoint:
    """The operating point of a pair.

    The selection set gives the temperatures and the thresholds to try, the certification set the threshold and its
    promise. `chosen_for` has digest and variant of both stages, by the names of `OperatingPoint`.
    """
    temperatures = {
        "screen": fit_temperature(selection.screen, selection.targets),
        "expert": fit_temperature(selection.expert, selection.targets),
    }
    known = selection.confidences(temperatures["screen"])
    tried = thresholds(known)
    threshold, promise = certify(
        certification.confidences(temperatures["screen"]),
        certification.differs,
        tried,
        config.alpha,
        config.delta,
        config.max_escalation_share,
    )
    share = float((known < threshold).mean())
    return OperatingPoint(
        threshold=threshold,
        screen_temperature=temperatures["screen"],
        expert_temperature=temperatures["expert"],
        **chosen_for,
        escalation_share=share,
        promise=promise,
        certified_thresholds=tuple(each for each in tried if each >= threshold) if promise.certified else (),
        calibration={
            stage: {
                "error_before": round(calibration_error(logits, certification.targets), 5),
                "error_after": round(calibration_error(logits, certification.targets, temperatures[stage]), 5),
            }
            for stage, logits in (("screen", certification.screen), ("expert", certification.expert))
        },
        reference=reference(known),
        band=band(share, len(known)),
    )


def thresholds(confidence: NDArray[np.float64]) -> tuple[float, ...]:
    """The thresholds to try, ascending: 0 (nothing defers), confidences at fixed shares, and one above 1."""
    # Slightly below the confidences, so that rounding does not decide on which side an item lies.
    values = np.unique(np.quantile(confidence, SHARES, method="higher")) - 1e-9
    return (0.0, *values.tolist(), DEFER_ALL)


def certify(
    confidence: NDArray[np.float64],
    differs: NDArray[np.bool_],
    tried: Sequence[float],
    alpha: float,
    delta: float,
    max_escalation_share: float = 1.0,
) -> tuple[float, Promise]:
    """The lowest threshold with a promise, and the promise; without one, a threshold that is not certified.

    `confidence` [n] is the screen's, and `differs` [n] says whether its answer is not the expert's. `tried` holds the
    thresholds in ascending order, the last above 1; they must be fixed before these items are read.

    There is no promise when n is too small, or when the threshold would escalate more than `max_escalation_share`. The
    threshold is then the lowest whose observed share of misses is at most alpha, as far as that share allows.
    """
    n = len(confidence)
    ordered = tuple(reversed(tried))
    # NaN is below no threshold, so it counts as trusted.
    misses = [int((differs & ~(confidence < threshold)).sum()) for threshold in ordered]
    tested, passed, threshold, missed = 0, False, ordered[0], misses[0]
    for candidate, count in zip(ordered, misses, strict=True):
        tested += 1
        if binom.cdf(count, n, alpha) > delta:
            break
        passed, threshold, missed = True, candidate, count
    share = float((confidence < threshold).mean())
    certified = passed and share <= max_escalation_share
    if not certified:
        pairs = list(zip(ordered, misses, strict=True))
        allowed = [pair for pair in pairs if (confidence < pair[0]).mean() <= max_escalation_share]
        fine = [pair for pair in allowed if pair[1] <= alpha * n]
        threshold, missed = fine[-1] if fine else allowed[0]
    return threshold, Promise(
        alpha=alpha,
        delta=delta,
        certified=certified,
        n=n,
        misses=missed,
        upper_bound=upper_bound(missed, n, delta),
        needed_n=None if certified else needed(missed / n, alpha, delta),
        escalation_needed=share if passed and not certified else None,
        max_escalation_share=max_escalation_share,
        thresholds_tried=tested,
        method=METHOD,
    )


def upper_bound(misses: int, n: int, delta: float) -> float:
    """One-sided Clopper-Pearson bound at confidence 1 - delta of a share, after `misses` in `n` items."""
    return 1.0 if misses >= n else float(beta.ppf(1 - delta, misses + 1, n - misses))


def needed(rate: float, alpha: float, delta: float) -> int | None:
    """The smallest number of items that certifies alpha when misses come at `rate`; None when no number does.

    COUNTED_ITEMS + 1 when it takes more than COUNTED_ITEMS.
    """
    if rate >= alpha:
        return None
    # n items have ceil(rate * n) misses, so the tail jumps up with every miss. Two smooth tails lie below and above it;
    # the smallest n lies between the points where these get small enough.
    counts = range(1, COUNTED_ITEMS + 1)
    low, high = (bisect_left(counts, True, key=lambda n: _tail(rate * n + more, n, alpha) <= delta) for more in (0, 1))
    n = np.arange(low, min(high + 1, COUNTED_ITEMS)) + 1
    misses = np.ceil(rate * n)
    # With equally many misses, the largest n has the smallest tail.
    ends = np.flatnonzero(np.diff(misses, append=-1))
    enough = binom.cdf(misses[ends], n[ends], alpha) <= delta
    if not enough.any():
        return COUNTED_ITEMS + 1
    count = misses[ends[enough.argmax()]]
    row = n[misses == count]
    return int(row[bisect_left(row, True, key=lambda n: bool(binom.cdf(count, n, alpha) <= delta))])


def _tail(misses: float, n: int, alpha: float) -> float:
    """The binomial tail P(X <= misses), continued to `misses` that are no whole number."""
    return float(betainc(n - misses, misses + 1, 1 - alpha)) if misses < n else 1.0


def cascade_answers(stages: Stages, point: OperatingPoint) -> tuple[Decisions, NDArray[np.bool_]]:
    """What the cascade's full answers are, and whether each item escalates, [items]."""
    deferred = stages.confidences(point.screen_temperature) < point.threshold
    ours, theirs = stages.decisions
    return np.where(deferred if ours.ndim == 1 else deferred[:, None], theirs, ours), deferred


def reference(confidence: NDArray[np.float64]) -> Reference:
    """Bins of about equal size, as far as confidences differ, and the share of items in each."""
    inner = np.unique(np.quantile(confidence, np.linspace(0, 1, REFERENCE_BINS + 1)[1:-1]))
    counts = np.bincount(np.searchsorted(inner, confidence, side="right"), minlength=len(inner) + 1)
    return Reference(edges=tuple(inner.tolist()), shares=tuple((counts / len(confidence)).tolist()), n=len(confidence))


def band(share: float, n: int) -> Band:
    """The expected escalation share plus and minus three standard errors of both samples, at least two points."""
    least = int(Band.model_fields["min_n"].default)
    width = max(0.02, 3 * math.sqrt(share * (1 - share) * (1 / n + 1 / least)))
    return Band(
        lowest_escalation_share=round(max(0.0, share - width), 4),
        highest_escalation_share=round(min(1.0, share + width), 4),
    )
