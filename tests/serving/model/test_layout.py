"""The layout of pixels is chosen by what batches take; time is an argument."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.model import layout as module
from serving.model.artifact import ImageSettings
from serving.model.layout import Layout, faster
from serving.model.shapes import Shapes

SHAPES = Shapes(ImageSettings(width=4, height=4, mean=(0.5,) * 3, std=(0.5,) * 3))


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Model:
    """A session in one layout: what a batch of these rows takes; each tenth run takes long."""

    def __init__(self, name: Layout, took_s: dict[int, float], clock: Clock) -> None:
        self.name, self._took_s, self._clock, self.ran = name, took_s, clock, list[tuple[int, ...]]()

    def run(self, inputs: Mapping[str, Array]) -> Logits:
        (pixels,) = inputs.values()
        self.ran.append(pixels.shape)
        self._clock.now_s += 9.0 if len(self.ran) % 10 == 0 else self._took_s[len(pixels)]
        return np.zeros((len(pixels), 2), dtype=np.float32)


@pytest.mark.parametrize(
    ("large_s", "small_s", "chosen"),
    [
        (0.5, 1.0, "nhwc"),
        (0.99, 0.99, "nchw"),  # that may be noise
        (1.0, 1.0, "nchw"),
        (0.7, 1.2, "nhwc"),  # gains more than it loses
        (0.9, 1.3, "nchw"),
    ],
)
def test_the_layout_that_takes_less_time_is_chosen(large_s: float, small_s: float, chosen: str) -> None:
    clock = Clock()
    opened: list[Model] = []

    def open_in(layout: Layout) -> Model:
        took_s = {32: large_s, 1: small_s} if layout == "nhwc" else {32: 1.0, 1: 1.0}
        opened.append(Model(layout, took_s, clock))
        return opened[-1]

    assert faster("gpu-fp16", open_in, SHAPES, clock).name == chosen
    assert [model.name for model in opened] == ["nchw", "nhwc"]
    assert set(opened[1].ran) == {(32, 3, 4, 4), (1, 3, 4, 4)}


def test_a_layout_that_cannot_be_opened_is_not_taken_and_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, said = Clock(), list[str]()
    monkeypatch.setattr(module.logger, "warning", lambda text, *values: said.append(text % values))

    def open_in(layout: Layout) -> Model:
        if layout == "nhwc":
            raise RuntimeError("out of memory\nand more")
        return Model(layout, {32: 1.0, 1: 1.0}, clock)

    assert faster("gpu-fp16", open_in, SHAPES, clock).name == "nchw"
    assert said == ["gpu-fp16 runs in NCHW, since NHWC cannot be tried (out of memory)"]
