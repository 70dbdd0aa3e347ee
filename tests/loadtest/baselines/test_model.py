"""A model behind an endpoint: what goes into it, and the answer that it gives."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
import pytest
from PIL import Image

from loadtest.baselines import model
from loadtest.baselines.model import Baseline, Floats, Ids, Model

IMAGE: Baseline = {
    "kind": "image",
    "runtime": "onnx",
    "model": "none.onnx",
    "labels": ("dark", "light"),
    "mode": "RGB",
    "width": 8,
    "height": 4,
    "mean": (0.5, 0.5, 0.5),
    "std": (0.5, 0.5, 0.5),
    "resample": "bilinear",
}


def brightness(_: Baseline) -> model.Run:
    """In place of a session: logits from the mean of all pixels."""

    def run(arrays: Mapping[str, Ids | Floats]) -> Floats:
        mean = np.asarray(arrays["pixel_values"], dtype=np.float32).mean(axis=(1, 2, 3))
        return np.stack([-mean, mean], axis=1)

    return run


def picture(value: int, size: tuple[int, int] = (32, 16)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (value,) * 3).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(autouse=True)
def no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "_onnx", brightness)


def test_pixels_are_normalised_and_have_the_shape_of_the_model() -> None:
    pixels = Model(IMAGE).prepare(picture(255))
    assert (pixels.shape, pixels.dtype) == ((3, 4, 8), np.float32)
    np.testing.assert_allclose(pixels, 1.0)
    cut = Model({**IMAGE, "resize_short_side": 6}).prepare(picture(0, (300, 100)))
    assert cut.shape == (3, 4, 8)
    grey = Model({**IMAGE, "mode": "L", "mean": (0.0,), "std": (1.0,)}).prepare(picture(51))
    assert grey.shape == (1, 4, 8)
    np.testing.assert_allclose(grey, 0.2, rtol=1e-5)


def test_an_answer_has_the_scores_of_all_labels() -> None:
    answer = Model(IMAGE).classify(picture(255))
    assert answer["label"] == "light"
    assert answer["confidence"] == answer["scores"]["light"] > 0.5
    assert sum(answer["scores"].values()) == pytest.approx(1.0)


def test_a_temperature_makes_an_answer_less_sure() -> None:
    logits = np.array([0.0, 2.0], dtype=np.float32)
    one, two = (Model(IMAGE).answer(logits, temperature)["confidence"] for temperature in (1.0, 2.0))
    assert one == pytest.approx(1 / (1 + np.exp(-2.0)))
    assert two == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_a_batch_gives_each_item_its_own_logits() -> None:
    own = Model(IMAGE)
    items = [own.prepare(picture(value)) for value in (0, 255, 128)]
    together = own.logits(items)
    for item, row in zip(items, together, strict=True):
        np.testing.assert_allclose(own.logits([item])[0], row, rtol=1e-6)
