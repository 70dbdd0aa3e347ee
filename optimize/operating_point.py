"""Choose the deferral threshold and say what it promises.

The promise: with confidence 1 - delta, at most a share of alpha of all requests get a final answer that differs from
the expert's because the screen was trusted. It is tested as in Learn then Test (Angelopoulos et al. 2021,
arXiv:2110.01052): a list of thresholds that was fixed beforehand is gone through from the safest (everything defers)
downwards, each is tested exactly (a binomial tail, Clopper and Pearson 1934) at level delta, and the walk ends at the
first that fails. Testing in a fixed sequence corrects for the number tried: a false promise needs the first threshold
that is really unsafe to pass, whatever stands behind it.

The exactness rests on the certification set being drawn as requests are, independently of each other and of every
choice made before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, binom

from optimize.recipe import OperatingPointRecipe
from optimize.temperature import calibration_error, fit_temperature
from serving.answer import softmax
from serving.deferral import Band, OperatingPoint, Promise, Reference

Logits = NDArray[np.float32]

# Even steps of log odds: confidences crowd near 1, where 0.99 and 0.999 are different things.
THRESHOLDS = tuple(float(1 / (1 + np.exp(-odds))) for odds in np.linspace(-2, 10, 121))
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
    *,
    screen_digest: str,
    expert_digest: str,
) -> OperatingPoint:
    """Temperatures from the selection set, the threshold and its promise from the certification set."""
    temperatures = {
        "screen": fit_temperature(selection.screen, selection.targets),
        "expert": fit_temperature(selection.expert, selection.targets),
    }
    confidence = confidences(certification.screen, temperatures["screen"])
    differs = certification.screen.argmax(axis=1) != certification.expert.argmax(axis=1)
    threshold, promise = certify(confidence, differs, config.alpha, config.delta, config.max_escalation_share)
    known = confidences(selection.screen, temperatures["screen"])
    share = float((known < threshold).mean())
    return OperatingPoint(
        threshold=threshold,
        screen_temperature=temperatures["screen"],
        expert_temperature=temperatures["expert"],
        screen_digest=screen_digest,
        expert_digest=expert_digest,
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


def certify(
    confidence: NDArray[np.float64],
    differs: NDArray[np.bool_],
    alpha: float,
    delta: float,
    max_escalation_share: float = 1.0,
) -> tuple[float, Promise]:
    """The lowest threshold that the promise can be given for, and the promise; or the best without one.

    `confidence` [n] is the screen's, `differs` [n] whether its label is another than the expert's. Where n is too
    small for any promise, or the threshold would escalate more than `max_escalation_share`, the threshold is the
    lowest at which the observed share of misses is at most alpha (as far as the escalation allows), not certified.
    """
    n = len(confidence)
    ordered = (DEFER_ALL, *reversed(THRESHOLDS))
    misses = [int((differs & (confidence >= threshold)).sum()) for threshold in ordered]
    tried, threshold, missed = 0, DEFER_ALL, 0
    for candidate, count in zip(ordered, misses, strict=True):
        tried += 1
        if binom.cdf(count, n, alpha) > delta:
            break
        threshold, missed = candidate, count
    smallest = math.ceil(math.log(delta) / math.log1p(-alpha))
    certified = n >= smallest and float((confidence < threshold).mean()) <= max_escalation_share
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
        thresholds_tried=tried,
        method=METHOD,
    )


def upper_bound(misses: int, n: int, delta: float) -> float:
    """One-sided Clopper-Pearson bound of a share of which `misses` of `n` were seen, at confidence 1 - delta."""
    return 1.0 if misses >= n else float(beta.ppf(1 - delta, misses + 1, n - misses))


def needed(rate: float, alpha: float, delta: float) -> int | None:
    """The fewest items that certify alpha when misses come at `rate`; None where no number does: `rate` is too high."""
    if rate >= alpha:
        return None

    def enough(n: int) -> bool:
        return bool(binom.cdf(math.ceil(rate * n), n, alpha) <= delta)

    high = math.ceil(math.log(delta) / math.log1p(-alpha))
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


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
    window = int(Band.model_fields["window"].default)
    width = max(0.02, 3 * math.sqrt(share * (1 - share) * (1 / n + 1 / window)))
    return Band(
        lowest_escalation_share=round(max(0.0, share - width), 4),
        highest_escalation_share=round(min(1.0, share + width), 4),
    )
