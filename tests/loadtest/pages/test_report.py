"""The files, the page and its pictures, whatever became of the requests; and the bar where a person looks on."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.console import Console

from loadtest.pages import live, pictures, report
from loadtest.run import Known, Plan, idle_figures, measured
from loadtest.traffic.workload import Mix, Sample
from loadtest.verdict.objective import Objective
from loadtest.verdict.outcome import KINDS, Outcome
from tests.loadtest.outcomes import outcome

PARTS = {"read": 0.1, "screen": 1.0, "total": 2.0}


def result_of(outcomes: list[Outcome]) -> dict[str, Any]:
    sample = Sample("/", b"", "", "short, easy")
    known = Known([sample] * 5, [outcome(3.0, parts=PARTS)] * 5)
    idle = known.typical(Mix(), 1)
    found = {"began": "now", "plan": Plan(url="http://x").as_dict(), "idle": idle_figures(known, idle)}
    return found | measured(outcomes, 10.0, Objective(), known, idle) | {"machine": report.machine()}


def of_every_kind() -> list[Outcome]:
    kinds = np.random.default_rng(1).choice(KINDS, 3_000, p=[0.9, 0.04, 0.03, 0.02, 0.01])
    return [
        outcome(5.0 + i % 50, due_s=i / 300, kind=kind, parts=PARTS if kind in ("ok", "degraded") else {})
        for i, kind in enumerate(kinds)
    ]


@pytest.mark.parametrize(
    "outcomes",
    [of_every_kind(), [outcome(9.0, kind="failed", status=0, due_s=i / 10) for i in range(30)], [outcome(5.0)]],
    ids=["every kind", "no answer at all", "one request"],
)
def test_a_run_of_any_sort_is_written_and_told(tmp_path: Path, outcomes: list[Outcome]) -> None:
    said = io.StringIO()
    result = result_of(outcomes)
    report.write_run(tmp_path, result, outcomes, 50.0)
    report.say_run(result, Console(file=said, width=80))
    assert json.loads((tmp_path / "run.json").read_text()) == result
    page = (tmp_path / "run.html").read_text()
    assert "None" not in page
    assert "nan" not in page.partition("<svg")[0]
    for svg in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + svg.partition("</svg>")[0] + "</svg>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.html", "run.json"]
    assert said.getvalue().splitlines()[-1] in ("PASSED", "FAILED")
    assert ("bottleneck: unknown" in said.getvalue()) == (not any(o.answered for o in outcomes))


def test_the_pictures_show_every_kind_and_stay_small() -> None:
    drawn = pictures.over_time(of_every_kind(), 50.0)
    for kind in (*KINDS, "median", "p99", "50 ms"):
        assert f">{kind}<" in drawn
    assert drawn == pictures.over_time(of_every_kind(), 50.0)
    many = [outcome(float(ms)) for ms in np.random.default_rng(1).exponential(10, 100_000)]
    curve = pictures.percentile_curve(many, 50.0)
    assert len(curve) < 100_000
    for name in ("p50", "p99", "p99.99"):
        assert f">{name}<" in curve


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    report.write_json(tmp_path / "deep" / "a.json", {"b": 1})
    with pytest.raises(ValueError, match="JSON"):
        report.write_json(tmp_path / "deep" / "a.json", {"b": float("nan")})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"b": 1}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_drawn_where_a_person_looks_on(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(live, "console", Console(file=drawn, force_terminal=terminal, width=160))
    with live.Live("measuring", 3) as bar:
        for kind in ("ok", "ok", "shed"):
            bar.observe(outcome(7.0 if kind == "ok" else 900.0, kind=kind))
    assert ("2 ok, 1 shed  p99 of the latest answers 7.0 ms" in drawn.getvalue()) == terminal
    assert terminal or not drawn.getvalue().strip()


def test_the_front_is_what_no_other_trial_beats_in_both() -> None:
    pairs = [(20.0, 100.0), (30.0, 90.0), (40.0, 150.0), (40.0, 140.0), (None, 200.0), (10.0, 50.0), (50.0, 150.0)]
    trials = [{"p99_ms": p99, "goodput_per_s": goodput} for p99, goodput in pairs]
    assert [(t["p99_ms"], t["goodput_per_s"]) for t in pictures.front(trials)] == [
        (10.0, 50.0),
        (20.0, 100.0),
        (40.0, 150.0),
    ]
