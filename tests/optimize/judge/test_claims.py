"""Promises about single labels: counted as said, and kept, all together, as often as said."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from optimize.bounds import LabelPromiseRecipe
from optimize.judge.claims import claims_of, floors
from optimize.judge.operating_point import choose_at, thresholds
from optimize.judge.stages import Stages
from optimize.recipe import OperatingPointRecipe
from serving.model.head import Sigmoid, differ

LABELS = ("ham", "fraud", "other")
STATED = {"screen_digest": "s", "expert_digest": "e", "screen_variant": "cpu-int8", "expert_variant": "cpu-fp32"}
STATED |= {"screen_temperature": 1.0, "expert_temperature": 1.0}
PROMISES = (LabelPromiseRecipe(label="fraud", max_missed=0.08, missed_as="ham", max_false=0.1),)
ALPHA, DELTA = 0.05, 0.1


def drawn(seed: int, size: int) -> Stages:
    """A screen that is often sure of ham where the expert says fraud, and rarely wrong elsewhere."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, size, p=(0.6, 0.15, 0.25))
    expert = (20 * np.eye(3)[truth]).astype(np.float32)
    screen = 5 * np.eye(3)[truth] + rng.normal(scale=1.5, size=(size, 3))
    fooled = (truth == 1) & (rng.random(size) < 0.35)
    screen[fooled, 0] += 6
    return Stages(screen.astype(np.float32), expert, truth, labels=LABELS)


def test_what_is_counted_is_what_is_said() -> None:
    stages = drawn(0, 500)
    ours, theirs = stages.decisions
    missed, false = claims_of(PROMISES, stages)
    trusted = stages.confidences(1.0) >= 0.6
    final = np.where(trusted, ours, theirs)
    assert missed.at(trusted) == ((theirs == 1).sum(), ((theirs == 1) & (final == 0)).sum())
    assert false.at(trusted) == ((final == 1).sum(), ((final == 1) & (theirs != 1)).sum())
    (any_other,) = claims_of([LabelPromiseRecipe(label="fraud", max_missed=0.1)], stages)
    assert any_other.at(trusted) == ((theirs == 1).sum(), ((theirs == 1) & (final != 1)).sum())
    assert (missed.guarded, false.guarded, any_other.guarded) == (("ham",), ("fraud",), ("ham", "other"))
    nobody = np.zeros(500, dtype=bool)
    assert [claim.at(nobody).misses for claim in (missed, false, any_other)] == [0, 0, 0]


def test_labels_of_sets_are_counted_one_by_one() -> None:
    rng = np.random.default_rng(3)
    screen, expert = (rng.normal(size=(300, 3)).astype(np.float32) for _ in range(2))
    heads = (Sigmoid((0.0,) * 3), Sigmoid((0.0,) * 3))
    stages = Stages(screen, expert, expert > 0, *heads, LABELS)
    missed, false = claims_of(PROMISES, stages)
    ours, theirs = screen > 0, expert > 0
    everyone = np.ones(300, dtype=bool)
    assert missed.at(everyone) == (theirs[:, 1].sum(), (theirs[:, 1] & ~ours[:, 1] & ours[:, 0]).sum())
    assert false.at(everyone) == (ours[:, 1].sum(), (ours[:, 1] & ~theirs[:, 1]).sum())


def test_a_floor_is_the_lowest_threshold_that_seems_safe() -> None:
    stages = drawn(1, 2000)
    confidence = stages.confidences(1.0)
    tried = thresholds(confidence)
    claims = claims_of(PROMISES, stages)
    found = floors(claims, confidence, tried, DELTA)
    assert found["ham"] > found.get("fraud", 0.0), "ham is where the screen is fooled"
    assert "other" not in found
    place = tried.index(found["ham"])

    def safe(threshold: float) -> bool:
        n, misses = claims[0].at(confidence >= threshold)
        return bool(binom.cdf(misses, n, 0.08) <= DELTA**2)

    assert safe(tried[place])
    assert not safe(tried[place - 1])


def test_over_drawn_data_sets_all_promises_hold_together_as_often_as_said() -> None:
    large = drawn(10_000_000, 200_000)
    ours, theirs = large.decisions
    claims = claims_of(PROMISES, large)
    config = OperatingPointRecipe(alpha=ALPHA, delta=DELTA, labels=PROMISES)
    draws = certified = broken = 0
    escalated: list[float] = []
    for draw in range(300):
        point = choose_at(drawn(2 * draw, 400), drawn(2 * draw + 1, 600), config, STATED)
        draws += 1
        if not all(promise.certified for promise in (point.promise, *point.label_promises)):
            continue
        certified += 1
        trusted = ~large.deferred(point)
        risks = [(trusted & differ(ours, theirs)).mean() - ALPHA]
        for claim in claims:
            n, misses = claim.at(trusted)
            risks.append(misses / n - claim.alpha)
        broken += max(risks) > 0
        escalated.append(1 - float(trusted.mean()))
    assert certified > 0.9 * draws
    assert broken <= DELTA * draws
    assert np.median(escalated) < 0.8, "it does not only defer"


def test_the_promise_about_all_requests_alone_would_break_the_one_about_a_label() -> None:
    large = drawn(10_000_000, 200_000)
    (missed, _) = claims_of(PROMISES, large)
    broken = 0
    for draw in range(50):
        config = OperatingPointRecipe(alpha=ALPHA, delta=DELTA)
        point = choose_at(drawn(2 * draw, 400), drawn(2 * draw + 1, 600), config, STATED)
        n, misses = missed.at(~large.deferred(point))
        broken += misses / n > 0.08
    assert broken > 25


def test_other_labels_escalate_less_than_the_one_with_a_promise_needs() -> None:
    config = OperatingPointRecipe(alpha=ALPHA, delta=DELTA, labels=PROMISES)
    point = choose_at(drawn(0, 2000), drawn(1, 3000), config, STATED)
    assert point.label_thresholds["ham"] > point.threshold
    assert all(promise.certified for promise in point.label_promises)
    certification = drawn(1, 3000)
    deferred = certification.deferred(point)
    one_for_all = certification.confidences(1.0) < point.label_thresholds["ham"]
    assert deferred.mean() < one_for_all.mean()
    for promise, claim in zip(point.label_promises, claims_of(PROMISES, certification), strict=True):
        assert (promise.n, promise.misses) == claim.at(~deferred)
        assert promise.upper_bound <= promise.alpha
        assert promise.statement.startswith("certified: with confidence 90% ")


def test_too_few_items_of_a_label_leave_the_promise_about_all_requests() -> None:
    wanted = (LabelPromiseRecipe(label="fraud", max_missed=0.001),)
    config = OperatingPointRecipe(alpha=ALPHA, delta=DELTA, labels=wanted)
    point = choose_at(drawn(0, 400), drawn(1, 600), config, STATED)
    (promise,) = point.label_promises
    assert point.promise.certified
    assert not promise.certified
    assert promise.statement.startswith("not certified: of the items that the expert calls fraud at most 0.10% are")
    if promise.needed_n is not None:
        assert f"n is too small, {promise.needed_n:,} such items are needed" in promise.statement


def test_a_promise_that_passes_only_below_a_threshold_that_failed_is_not_certified() -> None:
    """False fraud: of few trusted answers, many are wrong; of many, few."""
    size = 4000
    confidence = np.linspace(0.5, 0.999, size)
    wrong = np.zeros(size, dtype=bool)
    wrong[-60:-30] = True  # the surest answers are right, the next wrong, all others right
    logit = np.log(confidence / (1 - confidence))
    screen = np.stack([np.zeros(size), logit], axis=1).astype(np.float32)
    theirs = np.where(wrong, 0, 1)
    expert = (9 * np.eye(2)[theirs]).astype(np.float32)
    stages = Stages(screen, expert, theirs, labels=("ham", "fraud"))
    sure = Stages(screen, screen, theirs, labels=("ham", "fraud"))  # a selection set that sees no mistake
    wanted = (LabelPromiseRecipe(label="fraud", max_false=0.02),)
    point = choose_at(sure, stages, OperatingPointRecipe(alpha=0.02, delta=0.05, labels=wanted), STATED)
    assert point.promise.certified
    assert point.label_promises[0].certified == all(
        claim.passes(confidence >= t, 0.05)
        for claim in claims_of(wanted, stages)
        for t in thresholds(confidence)
        if t >= point.threshold
    )


@pytest.mark.parametrize("kind", ["missed", "false"])
def test_the_test_is_the_binomial_one_on_the_items_of_the_label(kind: str) -> None:
    stages = drawn(5, 800)
    claim = next(each for each in claims_of(PROMISES, stages) if each.kind == kind)
    trusted = stages.confidences(1.0) >= 0.8
    n, misses = claim.at(trusted)
    for delta in (0.01, 0.1, 0.5):
        assert claim.passes(trusted, delta) == (binom.cdf(misses, n, claim.alpha) <= delta)
