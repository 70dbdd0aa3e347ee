from __future__ import annotations

import numpy as np

from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder, read_header
from serving.model.preprocess import items_of
from tests.serving.model.test_image import encoded, waves


def test_an_image_is_decoded_once_as_large_as_the_larger_stage_needs_it() -> None:
    small, large = (
        ImageDecoder(ImageSettings(width=side, height=side, mean=(0, 0, 0), std=(1, 1, 1))) for side in (16, 48)
    )
    file = encoded(waves(400), "JPEG")
    item, expert_item = items_of(small, large, read_header(file))
    assert item.shape == (3, 16, 16)
    np.testing.assert_array_equal(expert_item, large.decode(file))
    np.testing.assert_allclose(item, small.decode(file), atol=0.02)


def test_stages_of_the_same_preprocessing_share_one_item() -> None:
    decoder = ImageDecoder(ImageSettings(width=16, height=16, mean=(0, 0, 0), std=(1, 1, 1)))
    item, expert_item = items_of(decoder, decoder, read_header(encoded(waves(64), "JPEG")))
    assert item is expert_item
