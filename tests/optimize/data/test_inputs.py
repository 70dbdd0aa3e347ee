from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from optimize.build import Build
from optimize.data import inputs
from optimize.data.inputs import (
    Augmentation,
    Prepared,
    Preparer,
    batch_sizes,
    collect,
    ordered_batches,
    shuffled_batches,
)
from optimize.data.splits import Split
from serving.model.artifact import ImageSettings
from serving.model.windows import length_of


def test_batches_cover_everything_once_and_rows_come_back_in_order(build: Build) -> None:
    data = build.prepared("train")
    batches = list(shuffled_batches(data, 32, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches)) == list(range(len(data)))
    assert sorted(map(len, batches)) == sorted(batch_sizes(data, 32))
    np.testing.assert_array_equal(collect(data, 7, lambda indices: data.targets[indices]), data.targets)


@pytest.mark.parametrize(
    ("shape", "count", "sizes"),
    [
        ((3, 4, 4), 9, [4, 5]),  # batch norm learns nothing from one image
        ((3, 4, 4), 10, [4, 4, 2]),
        ((3, 4, 4), 1, [1]),
        ((7,), 9, [4, 4, 1]),
    ],
)
def test_a_single_image_joins_the_batch_before(shape: tuple[int, ...], count: int, sizes: list[int]) -> None:
    data = Prepared("train", [np.zeros(shape)] * count, np.zeros(count, dtype=np.int64), ("",) * count)
    batches = list(shuffled_batches(data, 4, np.random.default_rng(0)))
    assert batch_sizes(data, 4) == sizes
    assert sorted(map(len, batches)) == sorted(sizes)
    assert sorted(np.concatenate(batches)) == list(range(count))


@given(st.lists(st.integers(1, 8), min_size=1, max_size=40), st.integers(1, 20))
def test_batches_in_order_count_the_windows_of_a_text(windows: list[int], size: int) -> None:
    items = [np.zeros((count, 4) if count > 1 else 3, dtype=np.int64) for count in windows]
    data = Prepared("selection", items, np.zeros(len(items), dtype=np.int64), tuple(map(str, windows)))
    batches = list(ordered_batches(data, size))
    assert sorted(np.concatenate(batches)) == list(range(len(items)))
    assert all(len(batch) == 1 or sum(windows[place] for place in batch) <= size for batch in batches)
    lengths = [length_of(item) for batch in batches for item in data.take(batch)]
    assert lengths == sorted(lengths)


def test_a_view_is_the_same_whenever_it_is_looked_at() -> None:
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    views = Augmentation(crop=2, flip=True, seed=5)
    indices = np.array([4, 7])
    one, two = (views.apply(pixels, indices, view=3, count=10) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[1:], views.apply(pixels[1:], indices[1:], view=3, count=10)), "whatever stands beside it"
    assert torch.equal(views.apply(pixels, indices, view=0, count=10), pixels), "view 0 is the image itself"
    assert not torch.equal(one, pixels)


def test_images_that_do_not_fit_into_memory_are_decoded_when_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    split = Split("train", list(pixels), np.zeros(5, dtype=np.int64), list("abcde"), np.arange(5, dtype=np.uint64))
    preparer = Preparer(ImageSettings(width=4, height=4, mean=(0.5,) * 3, std=(0.25,) * 3))
    held = preparer.prepare(split).items
    monkeypatch.setattr(inputs, "DECODED_BYTES", 5 * 3 * 4 * 4 * 4 - 1)
    lazy = preparer.prepare(split).items
    assert isinstance(held, list)
    assert not isinstance(lazy, list)
    np.testing.assert_array_equal(np.stack(lazy), np.stack(held))
