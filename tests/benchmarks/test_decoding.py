"""Decoding a JPEG whole and no larger than its model needs."""

from __future__ import annotations

import io

from PIL import Image

from benchmarks.decoding import MODELS, enlarged, measured
from loadtest.traffic.workload import generated_jpeg


def test_both_ways_of_decoding_are_timed_and_their_pixels_compared() -> None:
    file = enlarged(generated_jpeg(seed=0, side=64), 512)
    assert Image.open(io.BytesIO(file)).size == (512, 512)
    found = measured([file], MODELS["32"], rounds=3)
    assert all(0 < lower <= median <= upper for median, lower, upper in (found["whole_ms"], found["needed_ms"]))
    assert 0 < found["apart"] < 3
