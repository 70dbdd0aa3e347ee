"""A runtime in its own process: what it answers, and what becomes of one that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from optimize.errors import RuntimesError
from optimize.runtimes.candidate import Candidate, Subject
from optimize.runtimes.onnx_runtime import OnnxRuntime
from optimize.runtimes.process import Apart, reason_of
from serving.errors import ProviderError
from tests.made import pixels, save_product
from tests.optimize.runtimes.fakes import Fake

BATCHES = {size: {"pixel_values": pixels(size)} for size in (1, 8)}


@pytest.fixture
def apart(tmp_path: Path) -> Iterator[Callable[[Candidate, float], Apart]]:
    subject = Subject(graph=save_product(tmp_path / "model.onnx"), task="image")
    made: list[Apart] = []

    def make(candidate: Candidate, wait_s: float = 60) -> Apart:
        made.append(Apart(candidate, subject, threads=1, wait_s=wait_s))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_runtime_answers_from_its_own_process(apart: Callable[..., Apart], tmp_path: Path) -> None:
    process = apart(OnnxRuntime())
    started = process.start(BATCHES)
    assert started["start_ms"] > 0
    wanted = OnnxRuntime().load(Subject(graph=tmp_path / "model.onnx", task="image"), 1)(BATCHES[8])
    np.testing.assert_array_equal(process.logits(BATCHES[8]), wanted)
    assert 0 < process.time(8) < 1000
    grown = process.memory()
    assert 10e6 < grown["memory_bytes"] <= grown["peak_bytes"] < 500e6


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("crashes", "its process ended by SIGSEGV"),
        ("exits", "its process ended with exit status 3"),
        ("raises", "ValueError: no kernel for it"),
    ],
)
def test_a_runtime_that_fails_says_why(apart: Callable[..., Apart], fault: str, says: str) -> None:
    with pytest.raises(RuntimesError) as raised:
        apart(Fake(fault)).start(BATCHES)
    assert str(raised.value) == says


def test_a_runtime_that_hangs_is_given_up(apart: Callable[..., Apart]) -> None:
    process = apart(Fake("hangs", later=8), 60)
    process.start(BATCHES)
    process._wait_s = 0.2
    with pytest.raises(RuntimesError, match=r"^gave no answer within 0.2 s; give it more with --wait$"):
        process.time(8)


def test_a_reason_is_one_line() -> None:
    assert reason_of(ProviderError("ours is whole\nhere")) == "ours is whole\nhere"
    assert reason_of(ValueError()) == "ValueError"
    assert len(reason_of(ValueError("a" * 999))) == 200
