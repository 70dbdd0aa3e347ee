"""Rows, shares and goals of the session alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from loadtest.errors import MissingError
from loadtest.gpu.alone import LEAST_RUNS, WARM_UP_RUNS, Clock, best, goals, median_s, rows
from loadtest.gpu.chips import chip_named
from loadtest.gpu.contenders import Open, Way
from loadtest.gpu.networks import Inputs, Network

NETWORK = Network(
    name="net",
    model=SimpleNamespace(config=SimpleNamespace(vocab_size=10, num_labels=2)),
    graph=Path("net.onnx"),
    flops=100,
    weights=50,
    limit_ms=100.0,
    tokens=4,
)


def giving(value: float) -> Any:
    def load(network: Network, on_gpu: bool) -> Open:
        return lambda inputs, batch: lambda: np.full((batch, 2), value, dtype=np.float32)

    return load


def absent(network: Network, on_gpu: bool) -> Open:
    raise MissingError("it is not here")


def breaking(network: Network, on_gpu: bool) -> Open:
    def opened(inputs: Inputs, batch: int) -> Any:
        def run() -> Any:
            if batch > 1:
                raise RuntimeError("out of memory\nwith a trace")
            return np.ones((batch, 2), dtype=np.float32)

        return run

    return opened


def measured(*ways: Way, clock: Clock | None = None, on_gpu: bool = False) -> list[dict[str, Any]]:
    clock = clock or Clock(10)
    found = rows(NETWORK, ways, on_gpu=on_gpu, chip=None, batches=(1, 8), seconds=0.0, clock=clock)
    return [dict(row) for row in found]


def test_each_way_has_a_row_for_each_batch_with_its_gap_from_the_first() -> None:
    found = measured(Way("a", giving(1.0)), Way("b", giving(1.25)))
    assert [(row["way"], row["batch"], row["gap"]) for row in found] == [
        ("a", 1, 0.0),
        ("a", 8, 0.0),
        ("b", 1, 0.25),
        ("b", 8, 0.25),
    ]
    assert all(row["ms"] > 0 or row["items_per_s"] > 0 for row in found)


def test_what_is_not_there_or_fails_is_a_row_that_says_so() -> None:
    gone, fine, failed = measured(Way("a", absent), Way("b", breaking))
    assert gone == {"model": "net", "way": "a", "missing": "it is not here"}
    assert "items_per_s" in fine
    assert failed["missing"] == "RuntimeError: out of memory"


def test_ways_for_gpus_or_images_are_left_out_elsewhere() -> None:
    ways = Way("a", giving(1.0), on_gpu_alone=True), Way("b", giving(1.0), images_alone=True)
    assert measured(*ways) == []
    assert {row["way"] for row in measured(*ways, on_gpu=True)} == {"a"}


def test_what_no_time_is_left_for_is_said() -> None:
    (row,) = measured(Way("a", giving(1.0)), clock=Clock(0))
    assert row["missing"] == "the time was over"


def test_shares_are_of_the_chip() -> None:
    chip = chip_named("NVIDIA L4")
    (row,) = rows(NETWORK, [Way("a", giving(1.0))], on_gpu=True, chip=chip, batches=(1,), seconds=0.0, clock=Clock(10))
    assert row["fp16_share"] is not None
    assert row["bandwidth_share"] is not None


def test_the_first_runs_do_not_count() -> None:
    ran: list[int] = []

    def run() -> Any:
        ran.append(1)
        return np.zeros(1)

    assert median_s(run, 0.0) > 0
    assert len(ran) == WARM_UP_RUNS + LEAST_RUNS


def row(way: str, batch: int, items_per_s: float) -> dict[str, Any]:
    return {"model": "net", "way": way, "batch": batch, "items_per_s": items_per_s}


def test_goals_hold_the_best_of_our_ways_against_pytorch_compiled() -> None:
    found = [
        row("ONNX Runtime", 1, 100.0),
        row("ONNX Runtime, CUDA graphs", 1, 160.0),
        row("PyTorch compiled", 1, 100.0),
        row("PyTorch eager", 1, 900.0),
        row("ONNX Runtime", 32, 95.0),
        row("PyTorch compiled", 32, 100.0),
        {"model": "net", "way": "TensorRT", "missing": "none here"},
    ]
    assert [(goal["batch"], goal["way"], goal["times"], goal["holds"]) for goal in goals(found)] == [
        (1, "ONNX Runtime, CUDA graphs", 1.6, True),
        (32, "ONNX Runtime", 0.95, False),
    ]
    assert goals(found[:2]) == [], "nothing to hold it against"
    assert best(found, "net", 8) is None


@pytest.mark.parametrize("minutes", [0.0, 10.0])
def test_a_clock_ends(minutes: float) -> None:
    assert Clock(minutes).over is (minutes == 0.0)
