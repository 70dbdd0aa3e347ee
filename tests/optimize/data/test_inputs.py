from __future__ import annotations

import numpy as np
import torch

from optimize.build import Build
from optimize.data.inputs import Augmentation, collect, shuffled_batches


def test_batches_cover_everything_once_and_rows_come_back_in_order(build: Build) -> None:
    data = build.prepared("train")
    batches = list(shuffled_batches(data, 32, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches)) == list(range(len(data)))
    assert max(map(len, batches)) == 32
    np.testing.assert_array_equal(collect(data, 7, lambda indices: data.targets[indices]), data.targets)


def test_a_view_is_the_same_whenever_it_is_looked_at() -> None:
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    views = Augmentation(crop=2, flip=True, seed=5)
    indices = np.array([4, 7])
    one, two = (views.apply(pixels, indices, view=3, count=10) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[1:], views.apply(pixels[1:], indices[1:], view=3, count=10)), "whatever stands beside it"
    assert torch.equal(views.apply(pixels, indices, view=0, count=10), pixels), "view 0 is the image itself"
    assert not torch.equal(one, pixels)
