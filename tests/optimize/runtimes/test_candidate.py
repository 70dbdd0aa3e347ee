from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from optimize.runtimes.candidate import EachShape, Run, Subject, shape_of
from optimize.runtimes.open_vino import OpenVino
from serving.arrays import Array, Logits


def test_a_shape_is_opened_once() -> None:
    opened: list[str] = []

    def open_one(arrays: Mapping[str, Array]) -> Run:
        opened.append(shape_of(arrays))

        def run(arrays: Mapping[str, Array]) -> Logits:
            return np.asarray(arrays["a"], dtype=np.float32) * len(opened)

        return run

    run = EachShape(open_one)
    for size in (1, 2, 1, 2):
        assert run({"a": np.ones((size, 3)), "b": np.ones((size, 3))}).shape == (size, 3)
    assert opened == ["1x3", "2x3"]
    assert shape_of({"a": np.ones((1, 3)), "b": np.ones((1, 4))}) == "1x3-1x4"


def test_most_runtimes_have_nothing_to_prepare(tmp_path: Path) -> None:
    candidate = OpenVino()
    assert candidate.prepared(Subject(graph=tmp_path, task="text"), [], tmp_path) is candidate
