"""Time the parts of a request, each under an NVTX range where there is a GPU, so that Nsight shows them.

tokenise or decode: requests to items; collate: items to one batch; run: the session; read: logits to answers.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch

from optimize.profiling.subject import Cell, Subject
from optimize.progress import progress
from serving.model.head import head_of
from serving.model.session import Session

WARM_UP_ROUNDS = 5


def time_stages(subject: Subject, session: Session, cell: Cell, rounds: int) -> dict[str, dict[str, float]]:
    """Median and quartiles in ms of each part, by its name, for one batch of `cell`.

    Texts are made of words, so they may have a few tokens more or fewer than `cell.length`.
    """
    requests = subject.requests(cell)
    times: dict[str, list[float]] = {}
    head, labels = head_of(subject.artifact.manifest), subject.artifact.manifest.labels

    def once() -> None:
        with _stage("tokenise" if subject.is_text else "decode", times):
            items = subject.prepare(requests)
        with _stage("collate", times):
            batch = subject.preprocess.collate(items)
        with _stage("run", times):
            logits = session.run(batch)
        with _stage("read", times):
            head.answers(logits, labels)

    for _ in range(WARM_UP_ROUNDS):
        once()
    times.clear()
    with progress(f"{subject.name}: stages", total=rounds) as advance, _capture():
        for _ in range(rounds):
            once()
            advance(1)
    return {name: _spread(values) for name, values in times.items()}


@contextmanager
def _stage(name: str, times: dict[str, list[float]]) -> Iterator[None]:
    with torch.cuda.nvtx.range(name) if torch.cuda.is_available() else nullcontext():
        begin = time.perf_counter()
        yield
        times.setdefault(name, []).append((time.perf_counter() - begin) * 1e3)


def _capture() -> AbstractContextManager[Any]:
    """The block that Nsight records: the counted rounds, without loading and warm-up."""
    return torch.cuda.profiler.profile() if torch.cuda.is_available() else nullcontext()


def _spread(times_ms: list[float]) -> dict[str, float]:
    names = ("lower_quartile_ms", "median_ms", "upper_quartile_ms")
    return {name: round(value, 4) for name, value in zip(names, np.quantile(times_ms, (0.25, 0.5, 0.75)), strict=True)}
