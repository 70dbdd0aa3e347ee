from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.model.artifact import ImageSettings, TextSettings
from serving.model.shapes import WARM_UP_BATCH_SIZES, Shapes, lengths_of, sizes_up_to

NAMES = ("input_ids", "attention_mask", "token_type_ids")
TEXT = TextSettings(max_tokens=48, pad_token_id=7, inputs=NAMES)
IMAGE = ImageSettings(width=4, height=5, mode="L", mean=(0.5,), std=(0.5,))


def test_texts_have_few_shapes_the_largest_first() -> None:
    shapes = Shapes(TEXT)
    assert lengths_of(TEXT) == (8, 16, 32, 48)
    assert set(shapes.all()) == {(rows, tokens) for rows in WARM_UP_BATCH_SIZES for tokens in (8, 16, 32, 48)}
    assert shapes.all()[0] == (32, 48)
    assert (shapes.inputs, shapes.dtype) == (NAMES, "int64")


def test_images_differ_by_rows_alone() -> None:
    shapes = Shapes(IMAGE)
    assert shapes.all() == [(rows, 1, 5, 4) for rows in (32, 16, 8, 4, 2, 1)]
    assert (shapes.inputs, shapes.dtype) == (("pixel_values",), "float32")


@pytest.mark.parametrize(
    ("shape", "fitting"),
    [((1, 1), (1, 8)), ((3, 8), (4, 8)), ((5, 33), (8, 48)), ((32, 48), (32, 48)), ((33, 8), None), ((1, 49), None)],
)
def test_the_smallest_shape_that_holds_a_batch_of_texts(shape: Any, fitting: Any) -> None:
    assert Shapes(TEXT).fitting(shape) == fitting


def test_the_smallest_shape_that_holds_a_batch_of_images() -> None:
    assert Shapes(IMAGE).fitting((9, 1, 5, 4)) == (16, 1, 5, 4)
    assert Shapes(IMAGE).fitting((33, 1, 5, 4)) is None


def test_a_batch_of_texts_is_padded_whatever_the_buffers_held() -> None:
    buffers = {name: np.full((4, 8), 99, dtype=np.int64) for name in NAMES}
    ids = np.array([[1, 2, 3], [4, 5, 7]], dtype=np.int64)
    mask = np.array([[1, 1, 1], [1, 1, 0]], dtype=np.int64)
    Shapes(TEXT).fill(buffers, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})
    first = [1, 2, 3, *[7] * 5]
    assert buffers["input_ids"].tolist() == [first, [4, 5, 7, *[7] * 5], first, first]
    assert buffers["attention_mask"].sum(axis=1).tolist() == [3, 2, 3, 3]
    assert not buffers["token_type_ids"].any()


def test_a_batch_of_images_is_filled_up() -> None:
    buffers = {"pixel_values": np.full((4, 1, 5, 4), 9.0, dtype=np.float32)}
    given = np.arange(40, dtype=np.float32).reshape(2, 1, 5, 4)
    Shapes(IMAGE).fill(buffers, {"pixel_values": given})
    np.testing.assert_array_equal(buffers["pixel_values"], given[[0, 1, 0, 0]])


def test_an_expert_with_larger_calls_has_larger_shapes_with_as_many_tokens_as_a_call_may_have() -> None:
    shapes = Shapes(TEXT, 128, 4096)
    rows = {tokens: max(rows for rows, length in shapes.all() if length == tokens) for tokens in (8, 32, 48)}
    assert rows == {8: 128, 32: 128, 48: 64}
    assert shapes.fitting((65, 8)) == (128, 8)
    assert shapes.fitting((65, 33)) is None
    assert Shapes(TEXT, most_tokens=512).all() == Shapes(TEXT).all(), "as ever up to 32 rows"
    assert Shapes(IMAGE, 100).fitting((65, 1, 5, 4)) == (100, 1, 5, 4)
    assert [sizes_up_to(most) for most in (1, 3, 32)] == [(1,), (1, 2, 3), WARM_UP_BATCH_SIZES]
