"""The pictures of the report, as SVG text. Markers, line styles and labels carry the meaning, not colours."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from optimize.judge.quality_name import ACCURACY, QualityName

MARKERS = {"teacher": "s", "expert": "D", "screen": "*", "variant": "o", "trial": "x", "chosen trial": "P"}
# Keep text as text, and write the same file for the same figures.
mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "sieve", "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
)


def pareto(points: Sequence[Mapping[str, Any]], quality: QualityName = ACCURACY) -> str:
    """Quality against latency for the rows of report.json's `pareto`; the area of a point is its size in bytes."""
    figure, axes = _axes(7.5, 4.2)
    largest = max(point["size_bytes"] for point in points)
    for kind, marker in MARKERS.items():
        own = [point for point in points if point["kind"] == kind]
        if own:
            axes.scatter(
                [point["latency_ms"] for point in own],
                [100 * point[quality.key] for point in own],
                s=[25 + 375 * point["size_bytes"] / largest for point in own],
                marker=marker,
                facecolors="none" if marker in "sDo*P" else "black",
                edgecolors=None if marker == "x" else "black",
                linewidths=1.2,
                label=kind,
            )
    for point in points:
        if point["kind"] in ("teacher", "expert", "screen", "chosen trial"):
            named = point["name"] if point["kind"] == "chosen trial" else point["kind"]
            axes.annotate(
                f"{named} ({point['size_bytes'] / 1e6:.1f} MB)",
                (point["latency_ms"], 100 * point[quality.key]),
                xytext=(9, -14 if point["kind"] == "chosen trial" else 7),
                textcoords="offset points",
            )
    axes.set(xscale="log", xlabel="ms at batch size 1, one thread", ylabel=f"{quality.words} on the selection set, %")
    axes.margins(x=0.15, y=0.18)
    legend = axes.legend(loc="lower right")
    for handle in legend.legend_handles:
        handle.set_sizes([40])  # type: ignore[union-attr]  # all are of scatter plots
    return svg(figure)


def risk(curve: Sequence[Mapping[str, float]], point: Mapping[str, Any]) -> str:
    """Share of answers that differ from the expert's, against the escalation share."""
    figure, axes = _axes(7.5, 3.6)
    shares = [100 * step["escalation_share"] for step in curve]
    axes.plot(shares, [100 * step["risk"] for step in curve], "k-", drawstyle="steps-post", label="observed")
    axes.plot(
        shares,
        [100 * step["upper_bound"] for step in curve],
        "k--",
        drawstyle="steps-post",
        label=f"upper bound at {100 * (1 - point['promise']['delta']):g}%",
    )
    alpha = 100 * point["promise"]["alpha"]
    axes.axhline(alpha, color="black", linestyle=":", label=f"alpha = {alpha:g} %")
    chosen = min(curve, key=lambda step: abs(step["threshold"] - point["threshold"]))
    axes.plot(100 * chosen["escalation_share"], 100 * chosen["risk"], "k*", markersize=13, label="chosen threshold")
    axes.set(
        xlabel="escalation share, %", ylabel="answers that differ\nfrom the expert's, %", ylim=(0, max(4 * alpha, 2))
    )
    axes.legend(loc="upper right")
    return svg(figure)


def reliability(rows: Mapping[str, Any], quality: QualityName = ACCURACY) -> str:
    """Accuracy against confidence of the screen, before and after temperature scaling."""
    figure, axes = _axes(4.6, 4.2)
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1, label="as right as it says")
    for name, style in (("before", "k^--"), ("after", "ko-")):
        error = rows[f"error_{name}"]
        axes.plot(
            [row["confidence"] for row in rows[name]],
            [row[quality.key] for row in rows[name]],
            style,
            fillstyle="none",
            label=f"{name} (error {100 * error:.1f} points)",
        )
    axes.set(xlabel="confidence", ylabel=quality.words, xlim=(0, 1.02), ylim=(0, 1.02))
    axes.legend(loc="lower right")
    return svg(figure)


def confusion(matrices: Mapping[str, Sequence[Sequence[int]]], labels: Sequence[str]) -> str:
    """Confusion matrices of screen and expert: rows are the right labels, columns the answers, darker is more."""
    named = len(labels) <= 20
    side = max(3.2, 0.42 * min(len(labels), 20) + 1.4)
    figure = Figure(figsize=(2 * side, side), layout="constrained")
    for place, role in enumerate(("screen", "expert")):
        matrix = matrices[role]
        axes = figure.add_subplot(1, 2, place + 1)
        counts = np.asarray(matrix)
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Greys", vmin=0, vmax=1)
        axes.grid(visible=False)
        axes.set(title=role, xlabel="answered", ylabel="right")
        if named:
            axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right")
            axes.set_yticks(range(len(labels)), labels)
            for row, column in np.argwhere(counts > 0).tolist():
                shade = "white" if shares[row, column] > 0.5 else "black"
                axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=shade)
    return svg(figure)


def batch_curves(profile: Mapping[str, Any]) -> str:
    """ms a batch and items/s over batch size, two panels for each variant of a profile.json; a star marks a knee.

    Bars span the quartiles. Texts have a line for each length.
    """
    variants = profile["variants"]
    figure = Figure(figsize=(9, 3.6 * len(variants)), layout="constrained")
    panels = figure.subplots(len(variants), 2, squeeze=False)
    for (left, right), (variant, found) in zip(panels, variants.items(), strict=True):
        for place, knee in enumerate(found["knees"]):
            rows = [row for row in found["curve"] if row["length"] == knee["length"]]
            shade = str(0.65 * (1 - (place + 1) / len(found["knees"])))
            style = {"color": shade, "marker": "osD^vPX"[place % 7], "fillstyle": "none", "capsize": 2}
            label = f"{knee['length']} tokens" if knee["length"] else "images"
            for axes, scale in ((left, None), (right, 1e3)):
                _with_quartiles(axes, rows, knee["batch_size"], scale, style | {"label": label})
        sizes = sorted({row["batch_size"] for row in found["curve"]})
        left.set(yscale="log", ylabel="ms a batch", title=f"{profile['name']} {variant}")
        right.set(ylim=(0, None), ylabel="items/s", title=f"{profile['threads']} thread(s); star: knee")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.set(xlabel="batch size")
        right.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return svg(figure)


def _with_quartiles(
    axes: Axes, rows: Sequence[Mapping[str, float]], knee: float | None, scale: float | None, style: Mapping[str, Any]
) -> None:
    """Draw ms over batch size, or items per `scale` ms, with a star at the knee."""

    def at(row: Mapping[str, float], column: str) -> float:
        return row[column] if scale is None else scale * row["batch_size"] / row[column]

    middle = [at(row, "median_ms") for row in rows]
    ends = [sorted(at(row, f"{side}_quartile_ms") for side in ("lower", "upper")) for row in rows]
    bars = [
        [value - low for value, (low, _) in zip(middle, ends, strict=True)],
        [high - value for value, (_, high) in zip(middle, ends, strict=True)],
    ]
    axes.errorbar([row["batch_size"] for row in rows], middle, yerr=bars, linewidth=1.2, **style)
    for row, value in zip(rows, middle, strict=True):
        if row["batch_size"] == knee:
            axes.plot(knee, value, "*", color=style["color"], markersize=13)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def svg(figure: Figure) -> str:
    """A figure as SVG text."""
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    return text[text.index("<svg") :]
