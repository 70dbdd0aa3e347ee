from __future__ import annotations

import numpy as np

from optimize.judge.stages import Stages
from optimize.traffic.differences import SHIFTED, differences
from serving.model.head import Sigmoid

LABELS = ("ham", "spam")


def drawn(seed: int, size: int, *, spam: float = 0.3, sure: float = 4.0) -> Stages:
    rng = np.random.default_rng(seed)
    truth = (rng.random(size) < spam).astype(int)
    expert = (8 * np.eye(2)[truth]).astype(np.float32)
    screen = (sure * np.eye(2)[truth] + rng.normal(size=(size, 2))).astype(np.float32)
    return Stages(screen, expert, truth, labels=LABELS)


def lengths(seed: int, size: int, mean: float = 20) -> np.ndarray:
    return np.random.default_rng(seed).poisson(mean, size)


def test_the_same_world_has_no_differences() -> None:
    found = differences(drawn(0, 2000), drawn(1, 5000), 1.0, (lengths(0, 2000), lengths(1, 5000)))
    assert max(found.confidences, found.lengths or 0, found.labels) < 0.05
    assert all(sentence.endswith("much the same") for sentence in found.sentences)


def test_each_difference_shows_where_it_is() -> None:
    before, known = drawn(0, 2000), lengths(0, 2000)
    labels = differences(before, drawn(1, 5000, spam=0.9), 1.0, (known, lengths(1, 5000)))
    assert labels.labels > SHIFTED > max(labels.confidences, labels.lengths or 0)
    assert labels.sentences[-1].endswith(f"{labels.label_shares['spam'][0]:.1%} in the recipe's data")
    assert labels.label_shares["spam"][0] < 0.4 < 0.8 < labels.label_shares["spam"][1]
    longer = differences(before, drawn(1, 5000), 1.0, (known, lengths(1, 5000, mean=40)))
    assert (longer.lengths or 0) > SHIFTED > max(longer.confidences, longer.labels)
    unsure = differences(before, drawn(1, 5000, sure=1.0), 1.0, (known, lengths(1, 5000)))
    assert unsure.confidences > SHIFTED > max(unsure.labels, unsure.lengths or 0)


def test_items_of_one_length_have_no_difference_in_length() -> None:
    one = np.ones(2000, dtype=np.int64)
    assert differences(drawn(0, 2000), drawn(1, 2000), 1.0, (one, one)).lengths is None


def test_label_sets_are_counted_label_by_label() -> None:
    rng = np.random.default_rng(0)
    head = Sigmoid((0.0, 0.0))
    many, few = (rng.normal(size=(3000, 2)) + shift for shift in ((1, -1), (-1, 1)))
    before, now = (Stages(x.astype(np.float32), x.astype(np.float32), x > 0, head, head, LABELS) for x in (many, few))
    one = np.ones(3000, dtype=np.int64)
    found = differences(before, now, 1.0, (one, one))
    assert found.labels > SHIFTED
    assert found.label_shares["ham"][0] > 0.7 > 0.3 > found.label_shares["ham"][1]
