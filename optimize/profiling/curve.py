"""Latency and throughput over batch size, and the knee from which on a larger batch is not worth its wait.

The knee is Kneedle's (Satopää, Albrecht, Irwin, Raghavan 2011, "Finding a 'Kneedle' in a Haystack",
doi:10.1109/ICDCSW.2011.20), with the whole curve known: throughput and batch size are scaled to 0..1, and the knee is
the point farthest above the diagonal, up to the peak. If a batch takes a + c * size ms, the knee takes the geometric
mean of the shortest and the longest batch. It depends on the largest batch size measured.

Even noise has a knee, so two cases are set apart. The knee is 1 when no larger batch surely has more throughput, and
the peak when the curve is almost straight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optimize.profiling.subject import Cell

METHOD = "Kneedle (doi:10.1109/ICDCSW.2011.20), of throughput against batch size up to the peak"
STRAIGHT = 0.1
"""A curve at most this high above the diagonal of the unit square counts as straight."""
QUANTILE_SHARES = tuple(round(share, 2) for share in np.linspace(0, 1, 21).tolist())
_FEWEST = 3


def curve_of(times_ms: Mapping[Cell, Sequence[float]]) -> list[dict[str, Any]]:
    """A row for each cell, by length and batch size: median, quartiles, p90 and QUANTILE_SHARES in ms, and items/s."""
    rows = []
    for cell in sorted(times_ms):
        times = np.asarray(times_ms[cell])
        quantiles = [round(value, 4) for value in np.quantile(times, QUANTILE_SHARES).tolist()]
        at = dict(zip(QUANTILE_SHARES, quantiles, strict=True))
        rows.append(
            {
                "batch_size": cell.batch_size,
                "length": cell.length,
                "median_ms": at[0.5],
                "lower_quartile_ms": at[0.25],
                "upper_quartile_ms": at[0.75],
                "p90_ms": at[0.9],
                "quantiles_ms": quantiles,
                "rounds": len(times),
                "items_per_s": round(1e3 * cell.batch_size / at[0.5], 2),
            }
        )
    return rows


def knees_of(curve: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The knee of each length: {length, batch_size (None when unknown), reason}."""
    lengths = dict.fromkeys(row["length"] for row in curve)
    found = []
    for length in lengths:
        batch_size, reason = knee([row for row in curve if row["length"] == length])
        found.append({"length": length, "batch_size": batch_size, "reason": reason})
    return found


def knee(rows: Sequence[Mapping[str, Any]]) -> tuple[int | None, str]:
    """Batch size at the knee, and the reason. `rows` are those of one length, in order of batch size."""
    if len(rows) < _FEWEST:
        return None, f"a knee takes at least {_FEWEST} batch sizes, got {len(rows)}"
    sizes = np.array([row["batch_size"] for row in rows], dtype=np.float64)
    throughput = np.array([row["items_per_s"] for row in rows], dtype=np.float64)
    peak = int(throughput.argmax())
    # Compare each size at its slowest with the smallest at its fastest, within the intervals of their medians.
    fastest = rows[0]["median_ms"] - _notch(rows[0])
    sure = [size * fastest > sizes[0] * (row["median_ms"] + _notch(row)) for size, row in zip(sizes, rows, strict=True)]
    if peak == 0 or not any(sure[1:]):
        return int(sizes[0]), "no larger batch surely gives more throughput"
    rising = slice(0, peak + 1)
    above = _scaled(throughput[rising]) - _scaled(sizes[rising])
    at = int(above.argmax())
    if above[at] <= STRAIGHT:
        return int(sizes[peak]), "throughput rises in proportion up to its peak there"
    return int(sizes[at]), f"{throughput[at] / throughput[peak]:.0%} of the highest throughput"


def _notch(row: Mapping[str, Any]) -> float:
    """Half the interval around a median, in ms: medians with overlapping intervals do not differ at about 95 %.

    McGill, Tukey, Larsen 1978, "Variations of Box Plots".
    """
    return float(1.57 * (row["upper_quartile_ms"] - row["lower_quartile_ms"]) / np.sqrt(row["rounds"]))


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values [sizes] scaled to 0 at the first and 1 at the last."""
    return np.asarray((values - values[0]) / (values[-1] - values[0]))
