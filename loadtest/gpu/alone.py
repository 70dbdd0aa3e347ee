"""The session alone: what each way to run a model takes for a batch, with no server around it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from loadtest.errors import MissingError
from loadtest.gpu.chips import Chip, shares
from loadtest.gpu.contenders import OURS, Open, Run, Way
from loadtest.gpu.networks import Network

BATCHES = (1, 8, 32, 128)
WARM_UP_RUNS = 4  # ONNX Runtime records a CUDA graph in its third run, PyTorch compiles in its first
LEAST_RUNS = 5
COMPARED = {1: 1.5, 32: 1.0}
"""By batch: so many times the items/s of PyTorch compiled are asked of ONNX Runtime."""
Row = dict[str, Any]


class Clock:
    """How long the whole may still take: what does not fit is left out, and said to be."""

    def __init__(self, minutes: float) -> None:
        self._end_s = time.monotonic() + 60 * minutes

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self._end_s


def rows(
    network: Network,
    ways: Iterable[Way],
    *,
    on_gpu: bool,
    chip: Chip | None,
    batches: Sequence[int],
    seconds: float,
    clock: Clock,
) -> Iterator[Row]:
    """A row for each way and batch size: median milliseconds, items/s and shares of the chip's peaks, or why none."""
    reference = None
    for way in ways:
        if (way.on_gpu_alone and not on_gpu) or (way.images_alone and network.tokens is not None):
            continue
        about: Row = {"model": network.name, "way": way.name}
        try:
            opened = _loaded(way, network, on_gpu, clock)
        except MissingError as error:
            yield {**about, "missing": str(error)}
            continue
        for batch in batches:
            if clock.over:
                yield {**about, "batch": batch, "missing": "the time was over"}
                continue
            try:
                run = opened(network.inputs(batch), batch)
                logits = run()
                took_s = median_s(run, seconds)
            except Exception as error:  # noqa: BLE001 - one way that fails is a row, whatever it raises
                yield {**about, "batch": batch, "missing": _first_line(error)}
                continue
            if batch == batches[0]:
                reference = logits if reference is None else reference
                about["gap"] = round(float(np.abs(logits - reference).max() / max(1e-9, np.abs(reference).max())), 5)
            yield {**about, "batch": batch, **figures(network, chip, batch, took_s, half=on_gpu)}


def figures(network: Network, chip: Chip | None, batch: int, took_s: float, *, half: bool) -> Row:
    """What a batch took, as items a second and as shares of the chip's peaks."""
    used = shares(
        chip,
        items=batch,
        seconds=took_s,
        flops=network.flops,
        weight_bytes=network.weights * (2 if half else 4),
        item_bytes=sum(array.nbytes for array in network.inputs(1).values()),
    )
    return {"ms": round(took_s * 1e3, 4), "items_per_s": round(batch / took_s, 1), **used}


def median_s(run: Run, seconds: float) -> float:
    """The median of the runs of so many seconds, and of LEAST_RUNS at least, after WARM_UP_RUNS."""
    for _ in range(WARM_UP_RUNS):
        run()
    took_s, end_s = list[float](), time.perf_counter() + seconds
    while len(took_s) < LEAST_RUNS or time.perf_counter() < end_s:
        begin_s = time.perf_counter()
        run()
        took_s.append(time.perf_counter() - begin_s)
    return float(np.median(took_s))


def best(found: Sequence[Row], model: str, batch: int, ways: Sequence[str] = OURS) -> Row | None:
    """The row with the most items/s of a model and a batch size, among these ways; None where none was measured."""
    there = [row for row in found if (row["model"], row.get("batch")) == (model, batch) and "items_per_s" in row]
    there = [row for row in there if row["way"] in ways]
    return max(there, key=lambda row: float(row["items_per_s"]), default=None)


def goals(found: Sequence[Row]) -> list[Row]:
    """How many times the items/s of PyTorch compiled the best of ONNX Runtime's ways has, where both were measured."""
    judged = []
    for model in dict.fromkeys(row["model"] for row in found):
        for batch, asked in COMPARED.items():
            ours, theirs = best(found, model, batch), best(found, model, batch, ["PyTorch compiled"])
            if ours and theirs:
                times = round(ours["items_per_s"] / theirs["items_per_s"], 3)
                judged.append(
                    {
                        "model": model,
                        "batch": batch,
                        "way": ours["way"],
                        "times": times,
                        "asked": asked,
                        "holds": times >= asked,
                    }
                )
    return judged


def _loaded(way: Way, network: Network, on_gpu: bool, clock: Clock) -> Open:
    if clock.over:
        raise MissingError("the time was over")
    try:
        return way.load(network, on_gpu)
    except MissingError:
        raise
    except Exception as error:  # noqa: BLE001 - each runtime fails in its own way
        raise MissingError(_first_line(error)) from None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
