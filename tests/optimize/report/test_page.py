"""report.html: one file, nothing from elsewhere, all that the issue of a run is judged by."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from optimize.build import Build
from optimize.report.page import EXAMPLE_CHARACTERS, _shown, html
from serving.cascade.deferral import LabelPromise
from serving.model.text import TextPair


@pytest.fixture
def report(build: Build) -> Any:
    return json.loads((build.folder / "report.json").read_text())


def test_the_page_is_made_from_report_json_alone_and_needs_no_network(build: Build, report: Any) -> None:
    page = (build.folder / "report.html").read_text()
    assert html(report) == page
    assert page.count("<svg") == 4
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert address.startswith(("data:image/png;base64,", "#")), address
    assert "<script" not in page
    assert report["promise"].partition("(")[0].replace("'", "&#39;") in page
    for row in report["steps"]:
        assert f"<td>{row['name']}</td>" in page


def test_the_curve_of_risk_falls_as_more_escalates(report: Any) -> None:
    curve = report["risk"]
    assert [step["threshold"] for step in curve] == sorted(step["threshold"] for step in curve)
    shares, risks = ([step[key] for step in curve] for key in ("escalation_share", "risk"))
    assert shares == sorted(shares)
    assert risks == sorted(risks, reverse=True)
    assert (shares[-1], risks[-1]) == (1.0, 0.0)
    assert all(step["risk"] < step["upper_bound"] for step in curve)
    point = report["operating_point"]
    (chosen,) = [step for step in curve if step["threshold"] == point["threshold"]]
    assert chosen["p_value"] <= point["promise"]["delta"]


def test_differences_are_differences(build: Build, report: Any) -> None:
    assert report["differences"]
    for row in report["differences"]:
        assert row["screen"] != row["expert"]
        assert row["escalated"] == (row["confidence"] < report["operating_point"]["threshold"])
        assert ("text" in row["content"]) == (build.recipe.task == "text")
    confidences = [row["confidence"] for row in report["differences"]]
    assert confidences == sorted(confidences, reverse=True)


def test_what_makes_a_run_repeatable_is_stated(report: Any) -> None:
    assert report["command"].startswith("python -m optimize run")
    assert {"torch", "onnxruntime-gpu", "optimum", "neural-compressor"} <= set(report["versions"])
    assert isinstance(report["seed"], int)
    assert report["machine"]["cores"] >= 1
    assert set(report["data"]["splits"]) == {"train", "calibration", "selection", "certification", "holdout"}
    for rows in report["confusion"].values():
        assert sum(map(sum, rows)) == report["data"]["splits"]["holdout"]["size"]


def test_markup_in_the_data_stays_text(report: Any) -> None:
    report["differences"] = [{**report["differences"][0], "content": {"text": "<script>alert(1)</script>"}}]
    page = html(report)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


def test_a_pair_is_shown_as_two_texts_each_shortened() -> None:
    shown = _shown(TextPair("first", "x" * 1_000))["text"]
    assert shown.startswith("first | xx")
    assert shown.endswith("x…")
    assert len(shown) == len("first | ") + EXAMPLE_CHARACTERS


def test_promises_about_labels_are_on_the_page_with_the_thresholds_that_keep_them(report: Any) -> None:
    assert report["label_promises"] == []
    assert "About single labels" not in html(report)
    promise = LabelPromise(
        label="<fraud>", kind="missed", alpha=0.02, delta=0.05, certified=True, n=200, misses=0, upper_bound=0.015
    )
    point = {**report["operating_point"], "label_thresholds": {"<ham>": 0.97}}
    page = html({**report, "label_promises": [promise.statement], "operating_point": point})
    assert "of the items that the expert calls &lt;fraud&gt; at most 2.00% are answered otherwise" in page
    assert "The answer &lt;ham&gt; escalates below 0.9700." in page
    del report["label_promises"]  # a report of an earlier version, which is marked as stale
    assert "About single labels" not in html(report)
