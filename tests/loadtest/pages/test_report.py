"""run.json, run.html and the terminal, whatever became of the requests."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

from loadtest.machine import machine
from loadtest.measuring.known import Known
from loadtest.pages import report
from loadtest.traffic.plan import Plan
from loadtest.traffic.reply import Reply
from loadtest.traffic.sample import Sample
from loadtest.traffic.workload import Mix
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import result_of
from tests.loadtest.replies import PARTS, of_every_kind, reply


def run_of(replies: list[Reply]) -> dict[str, Any]:
    sample = Sample("/", b"", "", "short, easy")
    known = Known([sample] * 5, [reply(3.0, parts=PARTS)] * 5)
    idle = known.typical(Mix(), 1)
    found = {"began": "now", "plan": Plan(url="http://x").as_dict(), "idle": known.figures(idle)}
    result = result_of(replies, 10.0, Objective(), idle=idle, network_ms=known.network_ms)
    return found | result | {"machine": machine()}


@pytest.mark.parametrize(
    "replies",
    [of_every_kind(), [reply(9.0, kind="failed", status=0, due_s=i / 10) for i in range(30)], [reply(5.0)]],
    ids=["every kind", "no answer at all", "one request"],
)
def test_a_run_of_any_sort_is_written_and_told(tmp_path: Path, replies: list[Reply]) -> None:
    said = io.StringIO()
    result = run_of(replies)
    report.write_run(tmp_path, result, replies, 50.0)
    report.say_run(result, Console(file=said, width=80))
    assert json.loads((tmp_path / "run.json").read_text()) == result
    page = (tmp_path / "run.html").read_text()
    assert "None" not in page
    assert "nan" not in page.partition("<svg")[0]
    for svg in page.split("<svg")[1:]:
        ElementTree.fromstring("<svg" + svg.partition("</svg>")[0] + "</svg>")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.html", "run.json"]
    assert said.getvalue().splitlines()[-1] in ("PASSED", "FAILED")
    assert ("bottleneck: unknown" in said.getvalue()) == (not any(o.answered for o in replies))
