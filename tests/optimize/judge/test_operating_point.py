"""The promise of an operating point: chosen as said, and kept as often as said."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from optimize.judge.operating_point import (
    Stages,
    cascade_answers,
    certify,
    choose,
    needed,
    reference,
    thresholds,
    upper_bound,
)
from optimize.recipe import OperatingPointRecipe
from serving.cascade.deferral import COUNTED_ITEMS, should_defer
from serving.model.answer import Answer, answers_from_logits
from serving.model.head import Sigmoid, differ
from tests.points import make_point


def world(rng: np.random.Generator, n: int) -> tuple[Any, Any]:
    """Confidences, and whether screen and expert differ: rarely where the screen is sure."""
    confidence = 1 / (1 + np.exp(-rng.normal(3, 2, n)))
    return confidence, rng.random(n) < 0.3 * (1 - confidence) ** 0.5


ALPHA, DELTA = 0.03, 0.1
# Fixed before any certification set is drawn, from a selection set of the same world.
THRESHOLDS = thresholds(world(np.random.default_rng(98), 500)[0])
CONFIDENCE, DIFFERS = world(np.random.default_rng(99), 2_000_000)
# What a threshold really risks, known here because the world is made up.
RISKS = {t: float((DIFFERS & (t <= CONFIDENCE)).mean()) for t in THRESHOLDS}


def test_over_a_thousand_drawn_data_sets_the_promise_fails_in_at_most_delta() -> None:
    rng = np.random.default_rng(0)
    failed, thresholds = 0, []
    for _ in range(1000):
        threshold, promise = certify(*world(rng, 400), THRESHOLDS, ALPHA, DELTA)
        assert promise.certified
        failed += RISKS[threshold] > ALPHA
        thresholds.append(threshold)
    assert failed <= DELTA * 1000
    assert failed > 0, "a promise that never fails gives too much away"
    assert np.median(thresholds) < 1, "it does not only defer"


def test_the_share_that_is_merely_observed_would_break_the_promise_far_more_often() -> None:
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(300):
        confidence, differs = world(rng, 400)
        fine = [t for t in THRESHOLDS if (differs & (confidence >= t)).mean() <= ALPHA]
        failed += RISKS[fine[0]] > ALPHA
    assert failed > 2 * DELTA * 300


@pytest.mark.parametrize(("alpha", "delta", "m"), [(0.01, 0.05, 299), (0.02, 0.05, 149), (0.01, 0.1, 230)])
def test_a_set_that_is_too_small_says_how_many_are_needed(alpha: float, delta: float, m: int) -> None:
    sure = np.full(m, 0.999)
    threshold, promise = certify(sure[:-1], np.zeros(m - 1, dtype=bool), THRESHOLDS, alpha, delta)
    assert not promise.certified
    assert promise.statement.startswith(f"not certified: n is too small, {m} are needed (n = {m - 1}, 0 misses)")
    assert threshold == THRESHOLDS[0], "the best that can be said of what was seen"
    _, promise = certify(sure, np.zeros(m, dtype=bool), THRESHOLDS, alpha, delta)
    assert promise.certified


def test_a_certified_threshold_is_the_last_that_passes() -> None:
    confidence, differs = world(np.random.default_rng(3), 1000)
    threshold, promise = certify(confidence, differs, THRESHOLDS, ALPHA, DELTA)
    place = THRESHOLDS.index(threshold)

    def passes(at: float) -> bool:
        return bool(binom.cdf((differs & (confidence >= at)).sum(), 1000, ALPHA) <= DELTA)

    assert all(passes(at) for at in THRESHOLDS[place:])
    assert not passes(THRESHOLDS[place - 1])
    assert promise.misses == (differs & (confidence >= threshold)).sum()
    assert promise.upper_bound <= ALPHA
    assert promise.thresholds_tried == len(THRESHOLDS) - place + 1  # and the one that failed


def test_a_limit_on_escalation_comes_before_the_promise() -> None:
    confidence, differs = world(np.random.default_rng(3), 1000)
    free, _ = certify(confidence, differs, THRESHOLDS, 0.01, 0.05)
    share = (confidence < free).mean()
    assert share > 0.3
    threshold, promise = certify(confidence, differs, THRESHOLDS, 0.01, 0.05, max_escalation_share=0.3)
    assert (confidence < threshold).mean() <= 0.3
    assert not promise.certified
    assert promise.statement.startswith(
        f"not certified: it would take escalating {share:.1%} of all requests, at most 30.0% are allowed; allow more"
    )


def test_what_is_no_number_counts_as_trusted_and_as_a_miss() -> None:
    nothing = np.full(400, np.nan)
    _, promise = certify(nothing, np.ones(400, dtype=bool), THRESHOLDS, 0.01, 0.05)
    assert not promise.certified
    assert should_defer(Answer(label="a", confidence=math.nan, margin=0.0, scores=(math.nan,)), make_point())


def test_over_drawn_data_sets_the_whole_choice_keeps_its_promise() -> None:
    """Temperature and thresholds from one drawn set, the choice on another, the risk in a far larger one."""
    world_at_large = stages(10_000_000, 40_000)
    config = OperatingPointRecipe(alpha=0.03, delta=0.1)
    failed, certified = 0, 0
    for draw in range(200):
        point = choose(stages(2 * draw, 200), stages(2 * draw + 1, 300), config, FOR)
        labels, _ = cascade_answers(world_at_large, point)
        certified += point.promise.certified
        failed += (labels != world_at_large.expert.argmax(axis=1)).mean() > config.alpha
    assert certified == 200
    assert failed <= config.delta * 200


@given(st.integers(1, 400), st.integers(0, 400), st.sampled_from([0.05, 0.1]))
def test_the_bound_is_clopper_and_pearsons(n: int, misses: int, delta: float) -> None:
    misses = min(misses, n)
    bound = upper_bound(misses, n, delta)
    if misses < n:
        assert binom.cdf(misses, n, bound) == pytest.approx(delta, rel=1e-6)
    else:
        assert bound == 1.0


def test_how_many_are_needed_grows_with_the_misses() -> None:
    assert needed(0.0, 0.01, 0.05) == 299
    assert needed(0.002, 0.01, 0.05) == 473, "the first of a row with gaps"
    assert needed(0.008, 0.01, 0.05) > needed(0.002, 0.01, 0.05)
    assert needed(0.01, 0.01, 0.05) is None


@given(st.floats(1e-3, 0.99), st.floats(0.01, 0.99), st.one_of(st.floats(0, 1), st.integers(0, 300)))
def test_how_many_are_needed_is_the_first_number_of_all(alpha: float, delta: float, share: float) -> None:
    """`share` is that of alpha, or a number of misses in 300 items."""
    rate = share / 300 if isinstance(share, int) else share * alpha
    n = np.arange(1, 5001)
    enough = binom.cdf(np.ceil(rate * n), n, alpha) <= delta
    if rate >= alpha:
        assert needed(rate, alpha, delta) is None
    elif enough.any():
        assert needed(rate, alpha, delta) == n[enough.argmax()]
    else:
        assert (needed(rate, alpha, delta) or 0) > 5000


@settings(max_examples=50)
@given(st.floats(1e-9, 0.2), st.floats(1e-6, 0.1), st.integers(1, 16))
@example(alpha=0.01, delta=0.05, digits=7)
@example(alpha=4.8e-7, delta=0.05, digits=16)
def test_a_rate_just_below_alpha_takes_few_tails(alpha: float, delta: float, digits: int) -> None:
    tails = 0

    class Counted:
        @staticmethod
        def cdf(misses: Any, n: Any, share: float) -> Any:
            nonlocal tails
            tails += np.size(n)
            return binom.cdf(misses, n, share)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("optimize.judge.operating_point.binom", Counted)
        count = needed(alpha * (1 - 10.0**-digits), alpha, delta)
    assert count is None or 1 <= count <= COUNTED_ITEMS + 1
    assert tails < 20_000
    if digits > 6:
        assert count in (None, COUNTED_ITEMS + 1), "more than can be counted"


FOR = {"screen_digest": "s", "expert_digest": "e", "screen_variant": "cpu-int8", "expert_variant": "cpu-fp32"}


def stages(seed: int, size: int) -> Stages:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 3, size)
    truth = np.eye(3)[targets]
    screen = (4 * truth + rng.normal(size=(size, 3))).astype(np.float32)
    expert = (6 * truth + rng.normal(size=(size, 3))).astype(np.float32)
    return Stages(screen, expert, targets)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_the_service_defers_what_was_counted(seed: int) -> None:
    selection, certification = stages(seed, 300), stages(seed + 1, 400)
    point = choose(selection, certification, OperatingPointRecipe(), FOR)
    answers = answers_from_logits(selection.screen, ["a", "b", "c"], point.screen_temperature)
    served = [should_defer(answer, point) for answer in answers]
    assert served == cascade_answers(selection, point)[1].tolist()
    assert np.mean(served) == pytest.approx(point.escalation_share)
    assert point.band.lowest_escalation_share <= point.escalation_share <= point.band.highest_escalation_share
    assert set(point.calibration) == {"screen", "expert"}


def test_a_reference_counts_every_item_once() -> None:
    confidence = np.concatenate([np.linspace(0.4, 1, 200), np.ones(300)])
    made = reference(confidence)
    assert sum(made.shares) == pytest.approx(1)
    assert list(made.edges) == sorted(set(made.edges)), "ties do not make empty bins"
    assert len(made.shares) == len(made.edges) + 1


def set_stages(seed: int, size: int) -> Stages:
    rng = np.random.default_rng(seed)
    targets = rng.random((size, 3)) < (0.5, 0.3, 0.15)
    signs = np.where(targets, 1.0, -1.0)
    screen = (2.5 * signs + rng.normal(size=signs.shape) + 1).astype(np.float32)
    expert = (4 * signs + rng.normal(size=signs.shape)).astype(np.float32)
    return Stages(screen, expert, targets, Sigmoid((1.0, 1.5, 0.5)), Sigmoid((0.0, 0.0, 0.0)))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10_000))
def test_the_service_defers_the_label_sets_that_were_counted(seed: int) -> None:
    selection, certification = set_stages(seed, 300), set_stages(seed + 1, 400)
    point = choose(selection, certification, OperatingPointRecipe(alpha=0.03), FOR)
    certified = point.certified_thresholds
    assert point.promise.certified is bool(certified)
    if certified:
        assert (certified[0], certified[-1] > 1, list(certified)) == (point.threshold, True, sorted(certified))
        assert len(certified) in (point.promise.thresholds_tried, point.promise.thresholds_tried - 1), "all that passed"
    answers = selection.screen_head.answers(selection.screen, ["a", "b", "c"], point.screen_temperature)
    served = [should_defer(answer, point) for answer in answers]
    sets, deferred = cascade_answers(selection, point)
    assert served == deferred.tolist()
    ours, theirs = selection.decisions
    assert (sets == np.where(deferred[:, None], theirs, ours)).all()


def test_over_drawn_data_sets_the_promise_of_the_same_set_is_kept() -> None:
    world_at_large = set_stages(10_000_000, 20_000)
    config = OperatingPointRecipe(alpha=0.03, delta=0.1)
    failed, screened = 0, 0.0
    for draw in range(60):
        point = choose(set_stages(2 * draw, 200), set_stages(2 * draw + 1, 300), config, FOR)
        sets, deferred = cascade_answers(world_at_large, point)
        assert point.promise.certified
        failed += differ(sets, world_at_large.decisions[1]).mean() > config.alpha
        screened += 1 - deferred.mean()
    assert failed <= config.delta * 60
    assert screened > 0.3 * 60, "it does not only defer"
