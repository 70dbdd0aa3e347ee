"""overload.json, overload.html, overload.svg and the terminal, whatever became of the requests."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from loadtest.machine import machine
from loadtest.pages.overload import COLUMNS, say_overload, steps_table, title, write_overload
from loadtest.traffic.plan import Plan
from loadtest.verdict.steps import OverloadResult, Step, judge_steps, step_of
from tests.loadtest.replies import of_every_kind, reply


def result_of(*steps: Step) -> OverloadResult:
    rows, valid = judge_steps(steps), all(step["valid"] for step in steps)
    return {
        "began": "now",
        "plan": Plan(url="http://x").as_dict(),
        "deadline_ms": 60.0,
        "lag_limit_ms": 5.0,
        "saturation": {"per_s": 100.0, "found": "searched"},
        "steps": list(steps),
        "objective": rows,
        "valid": valid,
        "passed": valid and all(row["holds"] for row in rows),
        "machine": machine(),
    }


GOOD = step_of([reply(5.0)] * 100, 1.0, times=1.0, deadline_ms=60.0)
LATE = step_of([reply(5.0, lag_ms=9.0)] * 100, 1.0, times=2.0, deadline_ms=60.0)
BAD = step_of(of_every_kind(), 10.0, times=5.0, deadline_ms=60.0)
SILENT = step_of([reply(kind="failed", status=0)] * 9, 1.0, times=3.0, deadline_ms=60.0)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((GOOD,), "passed"),
        ((GOOD, LATE), "invalid"),
        ((LATE,), "invalid"),
        ((GOOD, LATE, BAD), "failed"),
        ((SILENT,), "failed"),
    ],
    ids=["good", "one late", "all late", "every kind", "no answer"],
)
def test_an_overload_of_any_sort_is_written_and_told(
    steps: tuple[Step, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = result_of(*steps)
    assert title(result) == said
    write_overload(tmp_path, result)
    say_overload(result)
    assert json.loads((tmp_path / "overload.json").read_text()) == json.loads(json.dumps(result))
    picture = (tmp_path / "overload.svg").read_text()
    ElementTree.fromstring(picture)
    page = (tmp_path / "overload.html").read_text()
    assert picture in page
    assert f"<h1>Overload: {said}</h1>" in page
    assert "None" not in page
    assert "://" not in page.replace("http://www.w3.org", "").partition("<svg")[0], "nothing is fetched for it"
    assert ("count for nothing" in page) == (LATE in steps)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["overload.html", "overload.json", "overload.svg"]
    assert capsys.readouterr().out.splitlines()[-1] == said.upper()


def test_the_table_has_a_line_a_step_and_marks_what_is_invalid() -> None:
    head, rule, good, late, bad = steps_table([GOOD, LATE, BAD]).splitlines()
    assert head.count("|") == rule.count("|") == good.count("|") == len(COLUMNS) + 1
    assert good.startswith("| 1 | 100 | 100 | 0 | 0 | 0 | 0 | 0 | 5.0 | 5.0 |")
    assert late.endswith("| 9.0 invalid |")
    assert "invalid" not in good + bad
