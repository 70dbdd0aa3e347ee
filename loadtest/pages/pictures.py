"""The pictures of the pages, as SVG text. Line styles, markers and labels tell things apart, so grey will do."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from loadtest.verdict.figures import GROUPS
from loadtest.verdict.outcome import KINDS, Outcome

# Texts stay texts, and two runs with the same figures give the same file.
mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "sieve", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
)
CURVE_POINTS = 1_000
BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "oo")
GREYS = ("0.95", "0.85", "0.75", "0.65", "0.5", "0.35", "0.2")


def over_time(outcomes: Sequence[Outcome], deadline_ms: float) -> str:
    """Median and p99 of the answers, and what was asked, answered in time, shed and failed, second by second."""
    figure, (above, below) = _figure(7.5, 5.0, rows=2)
    seconds = np.array([int(o.due_s) for o in outcomes], dtype=int)
    span = range(int(seconds.max(initial=-1)) + 1)
    latency = np.array([o.latency_ms if o.answered else np.nan for o in outcomes])
    for share, style, name in ((0.5, "k-", "median"), (0.99, "k--", "p99")):
        line = [_quantile(latency[seconds == s], share) for s in span]
        above.plot(list(span), line, style, label=name)
    above.axhline(deadline_ms, color="0.5", linestyle=":", label=f"{deadline_ms:g} ms")
    above.set(ylabel="ms from when it was due", yscale="log")
    _plain_numbers(above)
    above.legend(**BESIDE)
    for style, kind in zip(("k-", "k--", "k:", "k-.", "k+"), KINDS, strict=True):
        count = np.bincount(seconds[[o.kind == kind for o in outcomes]], minlength=len(span))
        if count.any():
            below.plot(list(span), count, style, label=kind)
    below.set(xlabel="seconds", ylabel="requests/s", ylim=(0, None))
    below.legend(**BESIDE)
    return _svg(figure)


def percentile_curve(outcomes: Sequence[Outcome], deadline_ms: float) -> str:
    """Latency against the share of answers that are slower, from 1 in 2 to 1 in 10,000."""
    figure, (axes,) = _figure(7.5, 3.4)
    latency = np.sort([o.latency_ms for o in outcomes if o.answered])
    if len(latency):
        # Evenly spread over the axis, so that a million answers make no larger a picture than a thousand.
        beyond = np.geomspace(1, 0.5 / len(latency), CURVE_POINTS)
        ranks = np.unique(((1 - beyond) * len(latency)).astype(int))
        axes.plot(1 - (ranks + 0.5) / len(latency), latency[ranks], "k-")
    axes.axhline(deadline_ms, color="0.5", linestyle=":")
    axes.set(xscale="log", yscale="log", xlim=(0.6, 5e-5), ylabel="ms from when it was due")
    ticks = {0.5: "p50", 0.1: "p90", 0.01: "p99", 0.001: "p99.9", 0.0001: "p99.99"}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    if len(latency):
        axes.set_ylim(latency[int(0.4 * len(latency))] * 0.8, max(latency[-1], deadline_ms) * 1.25)
    _plain_numbers(axes)
    return _svg(figure)


def parts(idle: Mapping[str, Any], loaded: Mapping[str, Any]) -> str:
    """Where the time goes, by group: asked one by one, all answers under load, and the slowest 5 % of them."""
    figure, (axes,) = _figure(7.5, 2.6)
    rows = [("slowest 5 %", loaded.get("slowest")), ("under load", loaded.get("all")), ("one by one", idle.get("all"))]
    left = np.zeros(len(rows))
    for group, grey, hatch in zip(GROUPS, GREYS, HATCHES, strict=True):
        width = np.array([row["groups_ms"][group] if row else 0.0 for _, row in rows])
        if width.any():
            axes.barh([n for n, _ in rows], width, left=left, color=grey, hatch=hatch, edgecolor="black", label=group)
        left += width
    axes.set(xlabel="ms, mean")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4, frameon=False)
    return _svg(figure)


def pareto(trials: Sequence[Mapping[str, Any]], limit_ms: float) -> str:
    """Goodput against p99 of every setting that was tried; the default and the chosen one are named, and a line leads
    through those that no other beats in both.
    """
    figure, (axes,) = _figure(7.5, 3.8)
    best = front(trials)
    axes.step(
        [t["p99_ms"] for t in best], [t["goodput_per_s"] for t in best], "k--", where="post", label="Pareto front"
    )
    for marker, size, kind in (("x", 35, "trial"), ("s", 60, "default"), ("*", 160, "chosen"),
                               ("*", 160, "chosen: the default")):  # fmt: skip
        own = [t for t in trials if t["kind"] == kind and t["p99_ms"] is not None]
        if own:
            faces = None if marker == "x" else "none"
            edges = None if marker == "x" else "black"
            spots = [t["p99_ms"] for t in own], [t["goodput_per_s"] for t in own]
            axes.scatter(*spots, s=size, marker=marker, c="black" if faces is None else None, facecolors=faces,
                         edgecolors=edges, label=kind)  # fmt: skip
    axes.axvline(limit_ms, color="0.5", linestyle=":", label=f"{limit_ms:g} ms")
    axes.set(xlabel="p99 ms at that goodput", ylabel="goodput, answers in time/s", ylim=(0, None))
    axes.legend(loc="lower right")
    return _svg(figure)


def front(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The trials that no other beats in goodput and p99 both, by p99."""
    found: list[Mapping[str, Any]] = []
    measured = (trial for trial in trials if trial["p99_ms"] is not None)
    for trial in sorted(measured, key=lambda t: (t["p99_ms"], -t["goodput_per_s"])):
        if not found or trial["goodput_per_s"] > found[-1]["goodput_per_s"]:
            found.append(trial)
    return found


def ladder(rows: Sequence[Mapping[str, Any]]) -> str:
    """Goodput of each contender with its spread."""
    figure, (axes,) = _figure(7.5, 0.6 + 0.45 * len(rows))
    names = [row["name"] for row in rows][::-1]
    middle = np.array([row["goodput_per_s"]["median"] for row in rows][::-1])
    spread = [
        middle - np.array([row["goodput_per_s"]["lowest"] for row in rows][::-1]),
        np.array([row["goodput_per_s"]["highest"] for row in rows][::-1]) - middle,
    ]
    axes.barh(names, middle, xerr=spread, color="0.8", edgecolor="black", capsize=3)
    axes.set(xlabel="goodput at the objective, answers in time/s", xscale="log")
    return _svg(figure)


def _plain_numbers(axes: Axes) -> None:
    """2 and 50, not 2 x 10^0, on a logarithmic axis of milliseconds."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _quantile(values: Any, share: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, share, method="inverted_cdf")) if len(known) else float("nan")


def _figure(width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=rows > 1, squeeze=False)
    return figure, list(axes[:, 0])


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]
