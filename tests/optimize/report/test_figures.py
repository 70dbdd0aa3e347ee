from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from optimize.report import figures

POINTS: list[dict[str, Any]] = [
    {"name": "teacher", "kind": "teacher", "accuracy": 0.95, "latency_ms": 14.0, "size_bytes": 90_000_000},
    {"name": "expert/export", "kind": "expert", "accuracy": 0.95, "latency_ms": 8.0, "size_bytes": 86_000_000},
    {"name": "screen/quantize", "kind": "screen", "accuracy": 0.9, "latency_ms": 2.0, "size_bytes": 17_700_000},
    {"name": "trial 3", "kind": "chosen trial", "accuracy": 0.9, "latency_ms": 2.0, "size_bytes": 17_700_000},
]


def texts(svg: str) -> set[str]:
    """All texts of a picture; it must be one well-formed SVG."""
    root = ElementTree.fromstring(svg)
    assert root.tag.endswith("}svg")
    return {"".join(node.itertext()).strip() for node in root.iter("{http://www.w3.org/2000/svg}text")}


def test_the_pareto_picture_names_the_models_with_their_sizes() -> None:
    named = texts(figures.pareto(POINTS))
    assert {"teacher (90.0 MB)", "expert (86.0 MB)", "screen (17.7 MB)", "trial 3 (17.7 MB)"} <= named


def test_equal_figures_give_equal_pictures() -> None:
    assert figures.pareto(POINTS) == figures.pareto(POINTS)


def test_the_risk_picture_shows_alpha_and_the_bound() -> None:
    curve = [
        {"threshold": 0.0, "escalation_share": 0.0, "risk": 0.04, "upper_bound": 0.06},
        {"threshold": 0.8, "escalation_share": 0.2, "risk": 0.005, "upper_bound": 0.01},
    ]
    point = {"threshold": 0.8, "promise": {"alpha": 0.01, "delta": 0.05}}
    assert {"alpha = 1 %", "upper bound at 95%", "chosen threshold"} <= texts(figures.risk(curve, point))


def test_the_reliability_picture_states_the_errors() -> None:
    rows = [{"confidence": 0.5, "accuracy": 0.4}, {"confidence": 0.9, "accuracy": 0.95}]
    found = {"before": rows, "after": rows, "error_before": 0.08, "error_after": 0.01}
    assert {"before (error 8.0 points)", "after (error 1.0 points)"} <= texts(figures.reliability(found))


def test_the_confusion_picture_counts_and_leaves_many_labels_unnamed() -> None:
    matrix = [[37, 2], [0, 41]]
    assert {"37", "2", "41", "spam", "ham"} <= texts(
        figures.confusion({"screen": matrix, "expert": matrix}, ("spam", "ham"))
    )
    labels = [f"label {index}" for index in range(21)]
    many = [[int(row == column) for column in range(21)] for row in range(21)]
    assert "label 0" not in texts(figures.confusion({"screen": many, "expert": many}, labels))


def test_the_batch_picture_has_a_panel_for_each_variant() -> None:
    def row(size: int) -> dict[str, float]:
        ms = 1 + 0.5 * size
        quartiles = {"lower_quartile_ms": ms - 0.1, "median_ms": ms, "upper_quartile_ms": ms + 0.1}
        return {"length": 32, "batch_size": size, **quartiles}

    found = {"curve": [row(size) for size in (1, 2, 4)], "knees": [{"length": 32, "batch_size": 2}]}
    profile = {"name": "sms-risk-expert", "threads": 1, "variants": {"cpu-fp32": found, "cpu-int8": found}}
    named = texts(figures.batch_curves(profile))
    assert {"sms-risk-expert cpu-fp32", "sms-risk-expert cpu-int8", "32 tokens"} <= named
