"""What a runtime must do to be measured. To add one, write its file in this folder and its line in `candidates`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.arrays import Array, Logits

Run = Callable[[Mapping[str, Array]], Logits]
"""Arrays named as the graph's inputs -> logits float32 [batch, labels]."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A graph to run, and the checkpoint that it was exported from, where that is still there."""

    graph: Path
    task: Literal["text", "image"]
    checkpoint: Path | None = None
    no_checkpoint: str = ""
    """Why there is no checkpoint."""


class Candidate(ABC):
    """A runtime. It is sent to a process of its own, so its module imports the runtime in `load` and nothing heavy."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called in tables."""

    @abstractmethod
    def missing(self, subject: Subject) -> str | None:
        """Why it cannot run here, with the command that mends it; None if it can."""

    @abstractmethod
    def version(self) -> str:
        """The installed version."""

    def prepared(self, subject: Subject, inputs: Sequence[Mapping[str, Array]], folder: Path) -> Candidate:
        """The same, after what is done once and not at each start: files for these inputs, written into `folder`."""
        return self

    @abstractmethod
    def load(self, subject: Subject, threads: int) -> Run:
        """A function that runs the model on so many threads. It may raise anything, which becomes a row's reason."""


class EachShape:
    """A `Run` of a runtime whose code is for one shape: `opened` makes one when a shape comes for the first time."""

    def __init__(self, opened: Callable[[Mapping[str, Array]], Run]) -> None:
        self._opened = opened
        self._runs: dict[str, Run] = {}

    def __call__(self, arrays: Mapping[str, Array]) -> Logits:
        shape = shape_of(arrays)
        if shape not in self._runs:
            self._runs[shape] = self._opened(arrays)
        return self._runs[shape](arrays)


def shape_of(arrays: Mapping[str, Array]) -> str:
    """A name for the shapes of inputs: 8x32, or that of each input where they differ."""
    return "-".join(dict.fromkeys("x".join(map(str, array.shape)) for array in arrays.values()))
