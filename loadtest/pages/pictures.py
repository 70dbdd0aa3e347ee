"""The pictures of the pages, as SVG text. Line styles, markers and hatches differ, so they work in grey too."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from loadtest.traffic.reply import KINDS, Reply
from loadtest.verdict.comparison import Row
from loadtest.verdict.parts import GROUPS, Breakdown
from loadtest.verdict.payloads import WORK, PayloadRow, name_of
from loadtest.verdict.percentiles import Floats
from loadtest.verdict.steps import OUTCOMES, Step
from loadtest.verdict.trials import Trial, front, spots

# Text stays text, and the same figures give the same file.
mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "sieve", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
)
CURVE_POINTS = 1_000
HATCHES = ("", "//", "..", "xx", "\\\\", "--", "oo")
GREYS = ("0.95", "0.85", "0.75", "0.65", "0.5", "0.35", "0.2")


def over_time(replies: Sequence[Reply], deadline_ms: float) -> str:
    """Second by second: median and p99 of the answers, and the requests of each kind."""
    figure, (above, below) = _figure(7.5, 5.0, rows=2)
    seconds = np.array([int(o.due_s) for o in replies], dtype=int)
    span = range(int(seconds.max(initial=-1)) + 1)
    latency = np.array([o.latency_ms if o.answered else np.nan for o in replies])
    for share, style, name in ((0.5, "k-", "median"), (0.99, "k--", "p99")):
        line = [_quantile(latency[seconds == s], share) for s in span]
        above.plot(list(span), line, style, label=name)
    above.axhline(deadline_ms, color="0.5", linestyle=":", label=f"{deadline_ms:g} ms")
    above.set(ylabel="ms from when it was due", yscale="log")
    _plain_numbers(above)
    _legend_beside(above)
    for style, kind in zip(("k-", "k--", "k:", "k-.", "k+"), KINDS, strict=True):
        count = np.bincount(seconds[[o.kind == kind for o in replies]], minlength=len(span))
        if count.any():
            below.plot(list(span), count, style, label=kind)
    below.set(xlabel="seconds", ylabel="requests/s", ylim=(0, None))
    _legend_beside(below)
    return _svg(figure)


def percentile_curve(replies: Sequence[Reply], deadline_ms: float) -> str:
    """Latency against the share of slower answers, from 1 in 2 to 1 in 10,000."""
    figure, (axes,) = _figure(7.5, 3.4)
    latency = np.sort([o.latency_ms for o in replies if o.answered])
    if len(latency):
        # Points evenly spread over the axis: a million answers give no larger a picture than a thousand.
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


def parts(idle: Breakdown, loaded: Breakdown) -> str:
    """Mean milliseconds by group: when nothing queues, of all answers under load, and of the slowest 5 % of them."""
    figure, (axes,) = _figure(7.5, 2.6)
    rows = [("slowest 5 %", loaded["slowest"]), ("under load", loaded["all"]), ("one by one", idle["all"])]
    left = np.zeros(len(rows))
    for group, grey, hatch in zip(GROUPS, GREYS, HATCHES, strict=True):
        width = np.array([row["groups_ms"][group] if row else 0.0 for _, row in rows])
        if width.any():
            axes.barh([n for n, _ in rows], width, left=left, color=grey, hatch=hatch, edgecolor="black", label=group)
        left += width
    axes.set(xlabel="ms, mean")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), ncols=4, frameon=False)
    return _svg(figure)


def payloads(rows: Sequence[PayloadRow]) -> str:
    """Microseconds of serialization at both ends, by form: texts above, images below, each on a scale of its own."""
    kinds = [kind for kind in ("text", "image") if any(row["item"] == kind and row["answered"] for row in rows)]
    figure, places = _figure(7.5, 1.2 + 0.28 * len(rows), rows=max(1, len(kinds)), share_x=False)
    for axes, kind in zip(places, kinds, strict=False):
        shown = [row for row in rows if row["item"] == kind and row["answered"]][::-1]
        names = [name_of(row["encoding"], row["item"]) for row in shown]
        left = np.zeros(len(shown))
        for (key, label), grey, hatch in zip(WORK.items(), GREYS[::2], HATCHES, strict=False):
            width = np.array([row[key] or 0.0 for row in shown])
            axes.barh(names, width, left=left, color=grey, hatch=hatch, edgecolor="black", label=label)
            left += width
        axes.set(title=f"one {kind}", xlabel="µs, medians")
    places[-1].legend(*places[-1].get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, -0.35),
                      ncols=len(WORK), frameon=False)  # fmt: skip
    return _svg(figure)


def pareto(trials: Sequence[Trial], limit_ms: float) -> str:
    """Goodput against p99 of every trial, with the default and the chosen one marked, and the Pareto front."""
    figure, (axes,) = _figure(7.5, 3.8)
    best = front(trials)
    axes.step(
        [t["p99_ms"] for t in best], [t["goodput_per_s"] for t in best], "k--", where="post", label="Pareto front"
    )
    for marker, size, kind in (("x", 35, "trial"), ("s", 60, "default"), ("*", 160, "chosen"),
                               ("*", 160, "chosen: the default")):  # fmt: skip
        if own := spots([trial for trial in trials if trial["kind"] == kind]):
            faces = None if marker == "x" else "none"
            edges = None if marker == "x" else "black"
            places = [t["p99_ms"] for t in own], [t["goodput_per_s"] for t in own]
            axes.scatter(*places, s=size, marker=marker, c="black" if faces is None else None, facecolors=faces,
                         edgecolors=edges, label=kind)  # fmt: skip
    axes.axvline(limit_ms, color="0.5", linestyle=":", label=f"{limit_ms:g} ms")
    axes.set(xlabel="p99 ms at that goodput", ylabel="goodput, full answers/s", ylim=(0, None))
    axes.legend(loc="lower right")
    return _svg(figure)


def ladder(rows: Sequence[Row]) -> str:
    """Goodput of each contender, with lowest and highest round."""
    figure, (axes,) = _figure(7.5, 0.6 + 0.45 * len(rows))
    names = [row["name"] for row in rows][::-1]
    middle = np.array([row["goodput_per_s"]["median"] for row in rows][::-1])
    spread = [
        middle - np.array([row["goodput_per_s"]["lowest"] for row in rows][::-1]),
        np.array([row["goodput_per_s"]["highest"] for row in rows][::-1]) - middle,
    ]
    axes.barh(names, middle, xerr=spread, color="0.8", edgecolor="black", capsize=3)
    axes.set(xlabel="goodput at the objective, full answers/s", xscale="log")
    return _svg(figure)


def overload(steps: Sequence[Step], deadline_ms: float) -> str:
    """Step by step: requests/s by outcome, whose sum is the offered rate; and latencies of the answers."""
    figure, (above, below) = _figure(7.5, 5.6, rows=2)
    names = [f"{step['times']:g}" + ("" if step["valid"] else "\ninvalid") for step in steps]
    places = np.arange(len(steps))
    bottom = np.zeros(len(steps))
    for kind, grey, hatch in zip(OUTCOMES, GREYS, HATCHES, strict=False):
        height = np.array([step["per_s"][kind] for step in steps])
        if height.any():
            above.bar(places, height, bottom=bottom, color=grey, hatch=hatch, edgecolor="black", label=kind)
        bottom += height
    above.set(ylabel="requests/s")
    _legend_beside(above)
    lines = (
        ("k-o", "p50", [step["answer_p50_ms"] for step in steps]),
        ("k--s", "p99", [step["answer_ms"] for step in steps]),
        ("k:^", "p99, as the\nserver says", [step["server_ms"] for step in steps]),
    )
    for style, name, values in lines:
        if any(value is not None for value in values):
            below.plot(places, [np.nan if value is None else value for value in values], style, label=name)
    below.axhline(deadline_ms, color="0.5", linestyle=":", label=f"{deadline_ms:g} ms")
    below.set(xlabel="offered, times saturation", ylabel="ms of the answers", yscale="log")
    below.set_xticks(places, names)
    _plain_numbers(below)
    _legend_beside(below)
    return _svg(figure)


def over_a_day(at_min: Sequence[float], panels: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """A panel for each quantity, by its name and unit, with a line for each series."""
    figure, places = _figure(7.5, 1.2 + 1.4 * len(panels), rows=len(panels))
    for axes, (quantity, lines) in zip(places, panels.items(), strict=True):
        for style, (name, values) in zip(("k-", "k--", "k:", "k-."), lines.items(), strict=False):
            axes.plot(at_min, values, style, label=name)
        axes.set(ylabel=quantity, ylim=(0, None))
        _legend_beside(axes)
    places[-1].set(xlabel="minutes")
    return _svg(figure)


def _legend_beside(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)


def _plain_numbers(axes: Axes) -> None:
    """Label a logarithmic axis of milliseconds with 2 and 50, not with 2 x 10^0."""
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _quantile(values: Floats, share: float) -> float:
    known = values[~np.isnan(values)]
    return float(np.quantile(known, share, method="inverted_cdf")) if len(known) else float("nan")


def _figure(width: float, height: float, rows: int = 1, share_x: bool = True) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=share_x and rows > 1, squeeze=False)
    return figure, list(axes[:, 0])


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()[file.getvalue().index("<svg") :]
