"""The trials of a search for settings, and their Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypedDict


class Trial(TypedDict):
    """One setting that was tried. `kind`: trial, default, chosen, or "chosen: the default".

    `goodput_per_s` and `p99_ms` are of the best run that kept the objective, or of the first run where none did.
    """

    number: int
    kind: str
    settings: Mapping[str, float]
    goodput_per_s: float
    kept_objective: bool
    p99_ms: float | None
    given_up: bool
    not_started: bool


class Spot(TypedDict):
    """A measured trial in the plane of goodput and p99."""

    p99_ms: float
    goodput_per_s: float


def spots(trials: Sequence[Trial]) -> list[Spot]:
    """The trials that have a p99."""
    return [
        {"p99_ms": p99_ms, "goodput_per_s": trial["goodput_per_s"]}
        for trial in trials
        if (p99_ms := trial["p99_ms"]) is not None
    ]


def front(trials: Sequence[Trial]) -> list[Spot]:
    """The Pareto front: trials that no other beats in both goodput and p99, by ascending p99."""
    found: list[Spot] = []
    for spot in sorted(spots(trials), key=lambda s: (s["p99_ms"], -s["goodput_per_s"])):
        if not found or spot["goodput_per_s"] > found[-1]["goodput_per_s"]:
            found.append(spot)
    return found
