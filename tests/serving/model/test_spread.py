"""One expert on several GPUs: calls in flight together are on different ones."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.model.runtimes import Run
from serving.model.spread import spread

INPUTS = {"pixel_values": np.zeros((1, 1), dtype=np.float32)}


def test_one_session_is_asked_directly() -> None:
    def run(inputs: Mapping[str, Array]) -> Logits:
        return np.zeros((1, 2), dtype=np.float32)

    assert spread([run], 2) is run


def test_calls_in_flight_are_on_different_sessions_and_each_has_so_many_lanes() -> None:
    """Four calls come at once to two sessions of two lanes: each of them holds two, and a fifth waits."""
    held: list[int] = []
    four, go = threading.Barrier(5), threading.Event()

    def session(number: int) -> Run:
        def run(inputs: Mapping[str, Array]) -> Logits:
            held.append(number)
            if not go.is_set():
                four.wait(60)
                go.wait(60)
            return np.full((1, 1), number, dtype=np.float32)

        return run

    run = spread([session(0), session(1)], 2)
    threads = [threading.Thread(target=run, args=(INPUTS,)) for _ in range(5)]
    for thread in threads:
        thread.start()
    four.wait(60)
    assert sorted(held) == [0, 0, 1, 1]
    go.set()
    for thread in threads:
        thread.join(60)
    assert len(held) == 5
    assert {float(run(INPUTS)[0, 0]) for _ in range(4)} == {0.0, 1.0}


def test_a_lane_comes_back_after_a_failure() -> None:
    def fails(inputs: Mapping[str, Array]) -> Logits:
        raise ValueError("no")

    run = spread([fails, fails], 1)
    for _ in range(5):  # a lane that was lost would be waited for for ever
        with pytest.raises(ValueError, match="no"):
            run(INPUTS)
