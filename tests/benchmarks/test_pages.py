"""The command that writes figures and answers into the pages. tests/docs/test_pages.py checks what it wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import pages

PAGE = """before
```sh
curl -s http://localhost:3000/models
```
```json
{}
```
<!-- one: begin -->
old
<!-- one: end -->
after
"""


def test_a_block_is_replaced_and_the_rest_is_kept() -> None:
    written = pages.with_block(PAGE, "one", "new\n")
    assert written == PAGE.replace("old\n", "new\n")
    assert pages.with_block(written, "one", "old\n") == PAGE


def test_each_answer_is_what_its_command_got() -> None:
    asked = []

    def ask(command: str) -> str:
        asked.append(command.strip())
        return json.dumps({"label": "a"})

    assert pages.with_answers(PAGE, ask) == PAGE.replace("{}", '{\n  "label": "a"\n}')
    assert asked == ["curl -s http://localhost:3000/models"]


def test_answers_are_shown_with_a_line_a_field() -> None:
    value = {"label": "a", "scores": {"a": 0.9, "b": 0.1}, "none": [], "long": ["x" * 200, "y" * 200]}
    text = pages.as_json(value)
    assert json.loads(text) == value
    assert text.splitlines()[:3] == ["{", '  "label": "a",', '  "scores": {"a": 0.9, "b": 0.1},']
    assert len(text.splitlines()) == 9


def test_what_was_not_measured_names_the_command_that_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    with pytest.raises(SystemExit, match=r"summary.json is not there; make it with `make sms-risk`"):
        pages.keep_recipes(["sms-risk"])
    with pytest.raises(SystemExit, match=r"make it with `python -m optimize profile sms-risk-screen`"):
        pages.keep_profiles(["sms-risk-screen"])
    with pytest.raises(SystemExit, match=r"make it with `python -m optimize runtimes demo-text-screen`"):
        pages.keep_runtimes(["demo-text-screen"])


def test_a_summary_is_kept_under_its_recipes_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "MEASURED", tmp_path / "measured")
    (tmp_path / "build" / "my-cascade").mkdir(parents=True)
    (tmp_path / "build" / "my-cascade" / "summary.json").write_text("{}")
    pages.keep_recipes(["my-cascade"])
    assert (tmp_path / "measured" / "my-cascade.json").read_text() == "{}"


def test_the_best_of_the_other_servers_is_named_whoever_wins() -> None:
    def row(name: str, per_s: tuple[float, float, float, float], why: str | None = None) -> dict[str, Any]:
        cells = {at: {"per_s": {"median": value}} for at, value in zip(("1", "8", "32"), per_s[:3], strict=True)}
        highest = {"per_s": {"median": per_s[3]}}
        return {"name": name, "why": why, "connections": cells, "highest": highest, "rounds": [{}, {}]}

    rows = [
        row("the model alone", (900, 900, 900, 900)),
        row("Sieve", (10, 20, 30, 40)),
        row("one, with more words", (11, 5, 5, 39)),
        row("other", (5, 19, 31, 5)),
        row("broken", (99, 99, 99, 99), why="it does not start"),
    ]
    machine = {"processor": "a", "cores": 2, "python": "3.11"}
    said, conditions = pages.other_servers({"rows": rows, "limits_ms": {"p99": 50.0}, "machine": machine})
    assert said == (
        "**40** against 39 (one) answers/s at p99 50 ms, the best of 2 other servers; at 1, 8 and 32 connections "
        "**10** against 11 (one), **20** against 19 (other), **30** against 31 (other)"
    )
    assert "2 rounds in turn, a, 2 cores" in conditions
