"""Choose the deferral threshold and state its promise.

The promise: with confidence 1 - delta, at most a share of alpha of all requests get a final answer that differs from
the expert's because the screen was trusted.

It is tested as in Learn then Test (Angelopoulos et al. 2021, arXiv:2110.01052). The thresholds to try are fixed before
the certification set is read. They are tested in order from the safest, at which everything defers, each exactly (a
binomial tail, Clopper and Pearson 1934) at level delta. Testing stops at the first that fails. This fixed sequence
corrects for the number of tests: a false promise is possible only if the first unsafe threshold passes.

Promises about single labels are tested along the same sequence (`optimize.judge.claims`).

The test is exact if the items of the certification set are drawn as requests are, independently of each other and of
every earlier choice. Near-duplicates, which share a split, are not independent and weaken it.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc
from scipy.stats import beta, binom

from optimize.judge.claims import Claim, Flags, claims_of, floors
from optimize.judge.stages import Stages as Stages
from optimize.judge.temperature import calibration_error, fit_temperature
from optimize.recipe import OperatingPointRecipe
from serving.cascade.deferral import COUNTED_ITEMS, Band, LabelPromise, OperatingPoint, Promise, Reference
from serving.model.head import Decisions

# Escalation shares on the selection set, dense where few items defer; their confidences are the thresholds to try.
SHARES = np.unique(np.concatenate([np.geomspace(0.001, 0.1, 40), np.linspace(0, 1, 101)]))
DEFER_ALL = 1.0 + 1e-6
METHOD = "fixed-sequence testing (Learn then Test) with exact binomial tails"
REFERENCE_BINS = 10


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
    calibration = {
        stage: {
            "error_before": round(calibration_error(logits, certification.targets), 5),
            "error_after": round(calibration_error(logits, certification.targets, temperatures[stage]), 5),
        }
        for stage, logits in (("screen", certification.screen), ("expert", certification.expert))
    }
    fitted = {f"{stage}_temperature": value for stage, value in temperatures.items()} | {"calibration": calibration}
    return choose_at(selection, certification, config, {**chosen_for, **fitted})


def choose_at(
    selection: Stages, certification: Stages, config: OperatingPointRecipe, stated: Mapping[str, Any]
) -> OperatingPoint:
    """The operating point of a pair whose temperatures are known; the targets of the two sets are not looked at.

    `stated` has those and all else that neither set decides, by the names of `OperatingPoint`.
    """
    temperature = stated["screen_temperature"]
    known = selection.confidences(temperature)
    tried = thresholds(known)
    least = floors(claims_of(config.labels, selection), known, tried, config.delta)
    confidence = certification.above(certification.confidences(temperature), least)
    claims = claims_of(config.labels, certification)
    threshold, promise = certify(
        confidence, certification.differs, tried, config.alpha, config.delta, config.max_escalation_share, claims
    )
    trusted = ~(confidence < threshold)
    share = float((selection.above(known, least) < threshold).mean())
    # One that passes here and failed at a safer threshold is not certified, as none is without the others.
    safer = [~(confidence < each) for each in tried if each >= threshold]
    kept = promise.certified and all(claim.passes(each, config.delta) for claim in claims for each in safer)
    return OperatingPoint(
        threshold=threshold,
        label_thresholds={label: floor for label, floor in least.items() if floor > threshold},
        escalation_share=share,
        promise=promise,
        certified_thresholds=tuple(each for each in tried if each >= threshold) if promise.certified else (),
        label_promises=tuple(label_promise(claim, trusted, config.delta, certified=kept) for claim in claims),
        reference=reference(known),
        band=band(share, len(known)),
        **stated,
    )


def label_promise(claim: Claim, trusted: Flags, delta: float, *, certified: bool) -> LabelPromise:
    """What is promised of a label where the screen is trusted on the `trusted` items, [items]."""
    n, misses = claim.at(trusted)
    return LabelPromise(
        label=claim.label,
        kind=claim.kind,
        missed_as=claim.missed_as,
        alpha=claim.alpha,
        delta=delta,
        certified=certified,
        n=n,
        misses=misses,
        upper_bound=upper_bound(misses, n, delta),
        needed_n=None if certified else needed(misses / max(n, 1), claim.alpha, delta),
    )


def thresholds(confidence: NDArray[np.float64]) -> tuple[float, ...]:
    """The thresholds to try, ascending: 0 (nothing defers), confidences at fixed shares, and one above 1."""
    # Slightly below the confidences, so that rounding does not decide on which side an item lies.
    values = np.unique(np.quantile(confidence, SHARES, method="higher")) - 1e-9
    return (0.0, *values.tolist(), DEFER_ALL)


def certify(
    confidence: NDArray[np.float64],
    differs: Flags,
    tried: Sequence[float],
    alpha: float,
    delta: float,
    max_escalation_share: float = 1.0,
    claims: Sequence[Claim] = (),
) -> tuple[float, Promise]:
    """The lowest threshold with a promise, and the promise; without one, a threshold that is not certified.

    `confidence` [n] is the screen's, and `differs` [n] says whether its answer is not the expert's. `tried` holds the
    thresholds in ascending order, the last above 1; they must be fixed before these items are read.

    A threshold passes if the tests of all `claims` do, too. Where none does, it is chosen without them: then the
    promise about all requests is kept, and theirs are not.

    There is no promise when n is too small, or when the threshold would escalate more than `max_escalation_share`. The
    threshold is then the lowest whose observed share of misses is at most alpha, as far as that share allows.
    """
    n = len(confidence)
    ordered = tuple(reversed(tried))
    # NaN is below no threshold, so it counts as trusted.
    trusted = [~(confidence < threshold) for threshold in ordered]
    misses = [int((differs & each).sum()) for each in trusted]

    def share_at(place: int) -> float:
        return float((~trusted[place]).mean())

    alone = passing(binom.cdf(count, n, alpha) <= delta for count in misses)
    together = passing(all(claim.passes(each, delta) for claim in claims) for each in trusted[:alone]) if claims else 0
    # The safest comes first, so the last of those that pass escalates least.
    passed = next((each for each in (together, alone) if each and share_at(each - 1) <= max_escalation_share), 0)
    if passed:
        place = passed - 1
    else:
        allowed = [place for place in range(len(ordered)) if share_at(place) <= max_escalation_share]
        fine = [place for place in allowed if misses[place] <= alpha * n]
        place = fine[-1] if fine else allowed[0]
    return ordered[place], Promise(
        alpha=alpha,
        delta=delta,
        certified=passed > 0,
        n=n,
        misses=misses[place],
        upper_bound=upper_bound(misses[place], n, delta),
        needed_n=None if passed else needed(misses[place] / n, alpha, delta),
        escalation_needed=share_at(alone - 1) if alone and not passed else None,
        max_escalation_share=max_escalation_share,
        thresholds_tried=min(len(ordered), (passed or alone) + 1),
        method=METHOD,
    )


def passing(tests: Iterable[bool]) -> int:
    """How many tests pass before the first that fails."""
    return sum(1 for _ in itertools.takewhile(bool, tests))


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
    deferred = stages.deferred(point)
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
