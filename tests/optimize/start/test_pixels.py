from __future__ import annotations

import numpy as np
import pytest

from optimize.errors import CheckpointError
from optimize.start.pixels import image_values
from serving.model.artifact import ImageSettings


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_size_and_colours_are_those_of_the_images(channels: int, mode: str) -> None:
    images = [np.full((30, 40, channels), value, np.uint8) for value in (51, 153)]
    values = image_values(images, channels)
    settings = ImageSettings.model_validate(values)
    assert (settings.width, settings.height, settings.mode) == (32, 32, mode)
    assert settings.mean == pytest.approx((0.4,) * channels)
    assert settings.std == pytest.approx((0.2,) * channels)


def test_images_of_one_colour_have_a_deviation_above_zero() -> None:
    assert image_values([np.zeros((8, 8, 1), np.uint8)], 1)["std"] == [0.001]


def test_no_image_has_so_many_channels() -> None:
    with pytest.raises(CheckpointError, match="takes images of 4 channels; bring a model for 1 or 3"):
        image_values([np.zeros((8, 8, 3), np.uint8)], 4)
