"""python -m benchmarks.large_data: the files that it makes, and one small run that is stopped and goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.large_data import LABELS, LargeDataError, main, summary, texts
from optimize.data.content import normalised


def test_no_two_texts_are_near_duplicates() -> None:
    rows = [line.strip().rsplit(",", 1) for line in texts(300)]
    assert len({normalised(text) for text, _ in rows}) == 300
    assert {label for _, label in rows} == set(LABELS)


def test_a_file_that_is_too_small_to_show_anything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LargeDataError, match=r"must be 20 times the memory, is 0\.0; give more --rows"):
        main(["--rows", "50", "--memory-mb", "100", "--work", str(tmp_path), "--out", str(tmp_path / "out.json")])


@pytest.mark.slow
def test_a_run_with_little_memory_is_stopped_and_goes_on(tmp_path: Path) -> None:
    rows, memory = ["--rows", "40000"], ["--memory-mb", "100", "--times", "1"]
    main([*rows, *memory, "--work", str(tmp_path), "--out", str(tmp_path / "out.json")])
    report = json.loads((tmp_path / "out.json").read_text())
    stopped, ended = report["runs"]
    assert (stopped["stopped"], ended["stopped"]) == (True, False)
    for run in report["runs"]:
        assert run["whole_file_refused"]
        assert run["allocated_bytes"] <= run["limit_bytes"]
    assert any("teacher/fine-tune: reused" in line for line in ended["said"])
    assert any("screen/distill: made in" in line for line in ended["said"])
    assert f"{report['times']} times the memory" in summary(report)
