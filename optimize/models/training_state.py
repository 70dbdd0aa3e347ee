"""The state of a training in a file, from which a run that was stopped goes on as if it had not been."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

KEPT_EVERY_S = 300.0
"""What a stopped run loses at most: an epoch of two million texts takes hours."""


class Place(NamedTuple):
    """How far a training is: `batch` batches of the epoch with the number `epoch` are done."""

    epoch: int = 0
    batch: int = 0


class TrainingState:
    """Keeps the `parts`, which have `state_dict` and `load_state_dict`, in the file `path`, or nowhere without one."""

    def __init__(self, path: Path | None, parts: Mapping[str, Any]) -> None:
        self._path, self._parts = path, parts
        self._kept_s = time.monotonic()
        self._generators: list[Any] = []

    def restore(self) -> Place:
        """Give the parts the state that an earlier run kept; return how far it was."""
        if self._path is None or not self._path.exists():
            return Place()
        stored = torch.load(self._path, weights_only=True, map_location="cpu")
        for name, part in self._parts.items():
            part.load_state_dict(stored[name])
        self._generators = stored["generators"]
        return Place(stored["epoch"], stored["batch"])

    def restore_generators(self) -> None:
        """Go on with the random numbers where the earlier run was, within its epoch."""
        cpu, *cuda = self._generators
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)

    def keep(self, place: Place) -> None:
        """Write the state of now beside, and rename it."""
        if self._path is None:
            return
        states = {name: part.state_dict() for name, part in self._parts.items()}
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        beside = self._path.with_name(f"{self._path.name}.partial")
        torch.save({**place._asdict(), **states, "generators": [torch.get_rng_state(), *cuda]}, beside)
        os.replace(beside, self._path)
        self._kept_s = time.monotonic()

    def keep_now_and_then(self, place: Place) -> None:
        """Keep the state if it was not for KEPT_EVERY_S."""
        if time.monotonic() - self._kept_s >= KEPT_EVERY_S:
            self.keep(place)

    def remove(self) -> None:
        """Remove the file of a training that is done."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)
