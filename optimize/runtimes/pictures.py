"""The picture of a comparison: items a second under each runtime, by batch size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from optimize.report.figures import svg

MARKERS = "osD^vPX"


def dots(facts: Mapping[str, Any]) -> str:
    """SVG: a panel for each batch size, a mark for each runtime that ran, whiskers over the quartiles.

    Beside it stands how much faster than ONNX Runtime it is. The scale is logarithmic.
    """
    rows = [row for row in facts["runtimes"] if "batches" in row]
    sizes = sorted(rows[0]["batches"], key=int)
    figure = Figure(figsize=(9, 1.1 + 0.42 * len(rows) * len(sizes)), layout="constrained")
    for panel, size in zip(figure.subplots(len(sizes), 1, squeeze=False, sharex=True)[:, 0], sizes, strict=True):
        for place, row in enumerate(rows):
            found = row["batches"][size]
            median, slow, fast = (
                1e3 * int(size) / found[f"{which}_ms"] for which in ("median", "upper_quartile", "lower_quartile")
            )
            style = {"marker": MARKERS[place % len(MARKERS)], "color": "black", "fillstyle": "none", "capsize": 3}
            panel.errorbar(median, place, xerr=[[median - slow], [fast - median]], **style)
            panel.annotate(
                f"{found['speedup']:.2f} times", (fast, place), xytext=(6, 0), textcoords="offset points", va="center"
            )
        panel.set_yticks(range(len(rows)), [row["name"] for row in rows])
        panel.set(xscale="log", title=f"batch size {size}")
        panel.margins(x=0.2, y=0.3)
        panel.invert_yaxis()
    panel.set_xlabel(f"items/s of {facts['name']} {facts['variant']}, {facts['threads']} thread(s)")
    return svg(figure)
