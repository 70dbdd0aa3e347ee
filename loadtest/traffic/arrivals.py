"""When requests are due, in seconds from the start: an open loop, in which no request waits for an earlier one.

An arrival process is one word: constant:200, poisson:200, step:100,200,400, ramp:50-400 (requests a second) or
replay:FILE. Steps have equal lengths. Steps and ramps are Poisson processes with a changing rate.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.errors import ArrivalsError

Due = NDArray[np.float64]
"""Due times in seconds, ascending."""
KINDS = "constant:RATE, poisson:RATE, step:RATE,RATE,…, ramp:RATE-RATE or replay:FILE"


def arrivals(spec: str, seconds: float, seed: int) -> Due:
    """Due times below `seconds` of an arrival process, as written on the command line; ArrivalsError if it is none."""
    kind, _, rest = spec.partition(":")
    rng = np.random.default_rng(seed)
    match kind:
        case "constant":
            rate = _rate(rest, spec)
            return np.arange(math.ceil(seconds * rate - 1e-9)) / rate
        case "poisson":
            return _poisson([_rate(rest, spec)] * 2, seconds, rng)
        case "step":
            rates = [_rate(part, spec) for part in rest.split(",")]
            width = seconds / len(rates)
            return np.concatenate([_poisson([r, r], width, rng) + i * width for i, r in enumerate(rates)])
        case "ramp":
            first, _, last = rest.partition("-")
            return _poisson([_rate(first, spec), _rate(last, spec)], seconds, rng)
        case "replay":
            return replay(Path(rest), seconds)
    raise ArrivalsError(f"arrivals must be {KINDS}, got {spec!r}; write one of them")


def lasting_s(spec: str, due_s: Due, seconds: float) -> float:
    """How long the arrivals last, in seconds: a replay ends with its file, all other kinds fill `seconds`."""
    return min(seconds, float(due_s[-1])) if spec.startswith("replay:") and due_s[-1] > 0 else seconds


def replay(path: Path, seconds: float) -> Due:
    """Due times from a text file: one number of seconds a line, in any order and from any origin."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ArrivalsError(f"{path}: must be a text file, got {type(error).__name__}; name another") from None
    try:
        times = np.sort(np.array([float(line) for line in lines]))
    except ValueError:
        raise ArrivalsError(f"{path}: must have one number of seconds in each line, got something else") from None
    if len(times) == 0 or not np.isfinite(times).all():
        raise ArrivalsError(f"{path}: must have at least one finite number of seconds, got none")
    from_start: Due = times - times[0]
    return from_start[from_start < seconds]


def _poisson(ends: list[float], seconds: float, rng: np.random.Generator) -> Due:
    """A Poisson process whose rate changes linearly from `ends[0]` to `ends[1]`.

    Given their count, the arrivals are independent draws from a density proportional to the rate.
    """
    first, last = ends
    count = rng.poisson((first + last) / 2 * seconds)
    uniform = np.sort(rng.random(count))
    slope = (last - first) / (first + last)
    # Invert the distribution function: (1 - slope) x + slope x² = uniform, for x in 0..1.
    x = uniform if abs(slope) < 1e-9 else (slope - 1 + np.sqrt((1 - slope) ** 2 + 4 * slope * uniform)) / (2 * slope)
    return np.asarray(x * seconds)


def _rate(text: str, spec: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 100_000:
        raise ArrivalsError(f"a rate must be a number of requests a second, above 0, got {spec!r}; write {KINDS}")
    return rate
