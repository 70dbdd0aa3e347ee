"""Measure a graph under every runtime: each is started alone, then all take turns, batch size by batch size."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from optimize.errors import RuntimesError
from optimize.progress import progress, running
from optimize.runtimes.candidate import Candidate, Subject
from optimize.runtimes.process import Apart, Arrays, reason_of
from serving.arrays import Logits
from serving.model.golden import TOLERANCE
from serving.model.head import Head, differ

LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What every runtime runs: `batches` by their size to be timed, `held` to be compared; both of arrays."""

    subject: Subject
    batches: Mapping[int, Arrays]
    held: Sequence[Arrays]
    head: Head
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long to measure: `rounds`, or as many as take a runtime `seconds` at a batch size, at least LEAST_ROUNDS.

    `wait_s`: how long a runtime may take for one answer, compiling included.
    """

    threads: int = 1
    rounds: int = 30
    seconds: float = 15.0
    wait_s: float = 300.0

    def rounds_of(self, ms: float) -> int:
        """Rounds of a call that takes so long; each runs it twice."""
        return max(LEAST_ROUNDS, min(self.rounds, int(self.seconds * 1e3 / (2 * ms))))


@dataclass(slots=True)
class _Runner:
    """A runtime under way: its process, what is known of it, and the times of its batches."""

    apart: Apart
    row: dict[str, Any]
    times: dict[int, list[float]] = field(default_factory=dict)
    planned: dict[int, int] = field(default_factory=dict)


def measure(work: Work, candidates: Sequence[Candidate], pace: Pace) -> list[dict[str, Any]]:
    """A row for each candidate, the first of which all others are held against.

    A row has `start_ms`, memory, `parity` and `batches`; or `missing`, or `failed`, with the reason. Raises
    RuntimesError if the first one fails.
    """
    rows: list[dict[str, Any]] = []
    runners: list[_Runner] = []
    wanted: list[Logits] = []
    with ExitStack() as stack:
        for candidate in candidates:
            row: dict[str, Any] = {"name": candidate.name}
            rows.append(row)
            why = candidate.missing(work.subject)
            if why is not None:
                row["missing"] = why
                continue
            with running(f"{candidate.name} starts"):
                try:
                    runners.append(_started(candidate, row, work, wanted, pace, stack))
                except RuntimesError as error:
                    row["failed"] = str(error)
            if not wanted:
                raise RuntimesError(f"{candidate.name} itself fails, so there is nothing to compare: {row['failed']}")
        _take_turns(runners, pace)
        for runner in runners:
            _conclude(runner, runners[0])
    return rows


def _started(
    candidate: Candidate, row: dict[str, Any], work: Work, wanted: list[Logits], pace: Pace, stack: ExitStack
) -> _Runner:
    """Start a runtime, hold its logits against the first one's (kept in `wanted`), and see how fast its batches are."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    try:
        candidate = candidate.prepared(work.subject, [*work.batches.values(), *work.held], folder)
    except Exception as error:
        raise RuntimesError(reason_of(error)) from error  # whatever a runtime raises is the reason in its row
    runner = _Runner(Apart(candidate, work.subject, threads=pace.threads, wait_s=pace.wait_s), row)
    stack.callback(runner.apart.close)
    row |= runner.apart.start(work.batches)
    got = [runner.apart.logits(arrays) for arrays in work.held]
    if not wanted:
        wanted += got
    runner.row["parity"] = parity(np.concatenate(got), np.concatenate(wanted), work.head, work.precision)
    for size in work.batches:
        runner.planned[size] = pace.rounds_of(runner.apart.time(size))
    return runner


def parity(got: Logits, wanted: Logits, head: Head, precision: str) -> dict[str, Any]:
    """How far logits [items, labels] lie from those of ONNX Runtime, and whether a service would call them the same."""
    gap = np.abs(got - wanted)
    share = float(gap.mean() / max(float(wanted.std()), 1e-12))
    others = int(differ(head.decide(got), head.decide(wanted)).sum())
    return {
        "items": len(wanted),
        "max_gap": float(gap.max()),
        "gap_share": share,
        "tolerance": TOLERANCE[precision],
        "other_labels": others,
        "holds": bool(share <= TOLERANCE[precision]) and not others,
    }


def _take_turns(runners: Sequence[_Runner], pace: Pace) -> None:
    """Time every runtime's batches in turn, each round in an order of its own; a slow one sits out some rounds."""
    rng = random.Random(0)  # nosec B311 # no secret
    with progress("runtimes, in turn", total=pace.rounds) as advance:
        for number in range(pace.rounds):
            turns = [(runner, size) for runner in runners for size in runner.planned]
            rng.shuffle(turns)
            for runner, size in turns:
                if "failed" in runner.row or not _has_turn(number, runner.planned[size], pace.rounds):
                    continue
                try:
                    runner.times.setdefault(size, []).append(runner.apart.time(size))
                except RuntimesError as error:
                    runner.row["failed"] = f"at batch size {size}: {error}"
            advance(1)


def _has_turn(number: int, planned: int, rounds: int) -> bool:
    """Whether round `number` is one of `planned`, which lie evenly in all `rounds`."""
    return (number + 1) * planned // rounds > number * planned // rounds


def _conclude(runner: _Runner, first: _Runner) -> None:
    """Write memory and the batches' times into the row, with how much faster than `first` each is."""
    if "failed" in runner.row:
        return
    runner.row |= runner.apart.memory()
    runner.row["batches"] = {
        str(size): {
            **summary(times),
            "speedup": round(statistics.median(first.times[size]) / statistics.median(times), 4),
        }
        for size, times in sorted(runner.times.items())
    }


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median and quartiles of milliseconds."""
    lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
    found = {"median_ms": median, "lower_quartile_ms": lower, "upper_quartile_ms": upper}
    return {**{name: round(value, 4) for name, value in found.items()}, "rounds": len(times)}


def fastest(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, str, float]]:
    """For each batch size the fastest runtime of those whose logits are ONNX Runtime's, and its ms."""
    held = [row for row in rows if "batches" in row and row["parity"]["holds"]]
    for size in sorted(held[0]["batches"], key=int):
        best = min(held, key=lambda row: row["batches"][size]["median_ms"])
        yield int(size), best["name"], best["batches"][size]["median_ms"]
