"""Graphs whose answers depend on the batch are found, by their operators and by their answers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest

from optimize.build import Build
from optimize.judge.company import ITEMS, MAX_GAP, SIZE, in_company, runs_alone
from optimize.judge.measure import logits_of, run_of
from optimize.models.graphs import range_of_batch
from serving.arrays import Array, Logits
from serving.model.head import Sigmoid
from tests.optimize.conftest import result


def test_dynamic_int8_runs_alone_and_everything_else_together(text_build: Build, image_build: Build) -> None:
    for build, role in ((text_build, "expert"), (image_build, "screen")):
        for name in ("export", "quantize"):
            graph = result(build, f"{role}/{name}")
            alone = build is text_build and name == "quantize"
            assert range_of_batch(onnx.load(graph.path)) is alone
            assert runs_alone(build, graph, logits_of(build, graph, build.prepared("selection"))) is alone


def test_dynamic_int8_that_shares_a_batch_misses_the_bound(text_build: Build) -> None:
    graph, data = result(text_build, "expert/quantize"), text_build.prepared("selection")
    found = in_company(run_of(text_build, graph), data.items, logits_of(text_build, graph, data), "int8", seed=0)
    assert found["max_gap"] > MAX_GAP == found["tolerance"]
    assert found["failed"][0].startswith("a logit moves by ")
    assert (found["batch_size"], found["items"]) == (SIZE, min(ITEMS, len(data)))


ALONE = np.array([[2.0, -2.0], [0.5, -0.5], [-1.0, 1.0]] * 20, dtype=np.float32)
NUMBERS = [np.array([place]) for place in range(len(ALONE))]


def moved(by: float, place: int | None = None) -> object:
    """A graph whose answer to the item `place`, or to every one, moves by `by` in company."""

    def run(items: Sequence[Array]) -> Logits:
        places = np.concatenate(items)
        rows = ALONE[places].copy()
        rows[(places == place) if place is not None else slice(None)] += np.array([-by, by], dtype=np.float32)
        return rows

    return run


@pytest.mark.parametrize(("by", "says"), [(0.0, []), (5e-5, []), (2e-4, ["a logit moves by 0.0002 in batches of 16"])])
def test_logits_may_move_a_little(by: float, says: list[str]) -> None:
    found = in_company(moved(by), NUMBERS, ALONE, "int8", seed=3)
    assert [sentence.split(",")[0] for sentence in found["failed"]] == says
    assert found["flips"] == 0


def test_no_label_may_flip() -> None:
    found = in_company(moved(1.0, place=4), NUMBERS, ALONE, "fp32", seed=3)
    assert (found["flips"], found["items"]) == (1, 60)
    assert "1 of 60 items get another label in batches of 16, none may" in found["failed"]


def test_no_number_is_a_miss() -> None:
    assert in_company(moved(float("nan")), NUMBERS, ALONE, "int8", seed=3)["failed"]


def test_fp16_may_move_by_its_own_rounding() -> None:
    assert in_company(moved(2e-3), NUMBERS, ALONE, "fp16", seed=3)["failed"] == []
    assert in_company(moved(2e-2), NUMBERS, ALONE, "fp16", seed=3)["failed"]


def test_no_label_set_may_flip() -> None:
    head = Sigmoid((0.0, 1.5))
    found = in_company(moved(0.6, place=4), NUMBERS, ALONE, "fp32", seed=3, head=head)
    assert found["flips"] == 1, "0.5 falls below 0"
    found = in_company(moved(0.4, place=4), NUMBERS, ALONE, "fp32", seed=3, head=head)
    assert found["flips"] == 0
