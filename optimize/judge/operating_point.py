"""Choose the deferral threshold and say what it promises.

The promise: with confidence 1 - delta, at most a share of alpha of all requests get a final answer that differs from
the expert's because the screen was trusted. It is tested as in Learn then Test (Angelopoulos et al. 2021,
arXiv:2110.01052): a list of thresholds that was fixed beforehand is gone through from the safest (everything defers)
downwards, each is tested exactly (a binomial tail, Clopper and Pearson 1934) at level delta, and the walk ends at the
first that fails. Testing in a fixed sequence corrects for the number tried: a false promise needs the first threshold
that is really unsafe to pass, whatever stands behind it.

The exactness rests on the certification set being drawn as requests are, independently of each other and of every
choice made before. Near-duplicates, which stay together in one split, loosen it: they err together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from optimize.judge.temperature import calibration_error, fit_temperature
from optimize.recipe import OperatingPointRecipe
from serving.arrays import Logits
from serving.cascade.deferral import Band, OperatingPoint, Promise, Reference
from serving.model.answer import softmax

# Shares of the selection set that defer, dense where few do; the confidences there are the thresholds to try.
SHARES = np.unique(np.concatenate([np.geomspace(0.001, 0.1, 40), np.linspace(0, 1, 101)]))
DEFER_ALL = 1.0 + 1e-6
METHOD = "fixed-sequence testing (Learn then Test) with exact binomial tails"
REFERENCE_BINS = 10


@dataclass(frozen=True, slots=True)
class Stages:
    """What screen and expert say of the items of one split: logits [items, labels]; `targets` [items]."""

    screen: Logits
    expert: Logits
    targets: NDArray[np.int64]


def choose(
    selection: Stages,
    certification: Stages,
    config: OperatingPointRecipe,
    chosen_for: Mapping[str, Any],
) -> OperatingPoint:
    """Temperatures and the list of thresholds from the selection set, the threshold and its promise from the
    certification set. `chosen_for`: digest and variant of both stages, as `OperatingPoint` names them.
    """
    temperatures = {
        "screen": fit_temperature(selection.screen, selection.targets),
        "expert": fit_temperature(selection.expert, selection.targets),
    }
    confidence = confidences(certification.screen, temperatures["screen"])
    differs = certification.screen.argmax(axis=1) != certification.expert.argmax(axis=1)
    known = confidences(selection.screen, temperatures["screen"])
    threshold, promise = certify(
        confidence, differs, thresholds(known), config.alpha, config.delta, config.max_escalation_share
    )
    share = float((known < threshold).mean())
    return OperatingPoint(
        threshold=threshold,
        screen_temperature=temperatures["screen"],
        expert_temperature=temperatures["expert"],
        **chosen_for,
        escalation_share=share,
        promise=promise,
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
    """What to try, ascending: 0 (nothing defers), confidences at fixed shares of the selection set, and above 1."""
    # A little below the confidences themselves, so that rounding does not decide on which side an item stands.
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
    """The lowest threshold that the promise can be given for, and the promise; or the best without one.

    `confidence` [n] is the screen's, `differs` [n] whether its label is another than the expert's, `tried` the
    thresholds in ascending order, fixed before these items were looked at, the last above 1. Where n is too small for
    any promise, or the threshold would escalate more than `max_escalation_share`, the threshold is the lowest at
    which the observed share of misses is at most alpha (as far as the escalation allows), not certified.
    """
    n = len(confidence)
    ordered = tuple(reversed(tried))
    # A confidence that is no number is below no threshold, and counts as trusted.
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
        allowed = [
            (candidate, count)
            for candidate, count in zip(ordered, misses, strict=True)
            if (confidence < candidate).mean() <= max_escalation_share
        ]
        fine = [entry for entry in allowed if entry[1] <= alpha * n]
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
    """One-sided Clopper-Pearson bound of a share of which `misses` of `n` were seen, at confidence 1 - delta."""
    return 1.0 if misses >= n else float(beta.ppf(1 - delta, misses + 1, n - misses))


def needed(rate: float, alpha: float, delta: float) -> int | None:
    """The fewest items that certify alpha when misses come at `rate`; None where no number does: `rate` is too high."""
    if rate >= alpha:
        return None
    first, step = math.ceil(math.log(delta) / math.log1p(-alpha)), 4096
    while True:  # not monotonic in n, since misses come whole: so all are looked at
        n = np.arange(first, first + step)
        enough = binom.cdf(np.ceil(rate * n), n, alpha) <= delta
        if enough.any():
            return int(n[enough.argmax()])
        first, step = first + step, 2 * step


def confidences(logits: Logits, temperature: float) -> NDArray[np.float64]:
    """Largest softmax share of each row, [items]."""
    shares: NDArray[np.float64] = softmax(logits / np.float32(temperature)).max(axis=1)
    return shares


def cascade_labels(
    screen: Logits, expert: Logits, point: OperatingPoint
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Label index and escalation flag of each item, as the cascade answers with no deadline missed."""
    deferred = confidences(screen, point.screen_temperature) < point.threshold
    return np.where(deferred, expert.argmax(axis=1), screen.argmax(axis=1)), deferred


def reference(confidence: NDArray[np.float64]) -> Reference:
    """Bins with about as many items each, as far as confidences differ; and the share in each."""
    inner = np.unique(np.quantile(confidence, np.linspace(0, 1, REFERENCE_BINS + 1)[1:-1]))
    counts = np.bincount(np.searchsorted(inner, confidence, side="right"), minlength=len(inner) + 1)
    return Reference(edges=tuple(inner.tolist()), shares=tuple((counts / len(confidence)).tolist()), n=len(confidence))


def band(share: float, n: int) -> Band:
    """The escalation share expected, give or take three standard errors of both samples, and at least two points."""
    least = int(Band.model_fields["min_n"].default)
    width = max(0.02, 3 * math.sqrt(share * (1 - share) * (1 / n + 1 / least)))
    return Band(
        lowest_escalation_share=round(max(0.0, share - width), 4),
        highest_escalation_share=round(min(1.0, share + width), 4),
    )
