"""Counts that processes share through a folder."""

from __future__ import annotations

import logging
import multiprocessing
from pathlib import Path

from serving.shadow.counts import Counts
from serving.shadow.shared import SharedCounts


def counted(same: int) -> Counts:
    made = Counts()
    made.outcomes["same"] = same
    return made


def child(folder: Path) -> None:
    SharedCounts(folder, "shadow-a").together(counted(5))()


def test_counts_of_a_process_outlive_it_and_are_added_once(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=child, args=(tmp_path,))
    process.start()
    process.join()
    shared = SharedCounts(tmp_path, "shadow-a")
    assert shared.together(counted(2))().outcomes["same"] == 7
    assert shared.together(counted(3))().outcomes["same"] == 8
    assert SharedCounts(tmp_path, "shadow-b").together(counted(1))().outcomes["same"] == 1
    assert SharedCounts(None, "shadow-a").together(counted(1))().outcomes["same"] == 1


def test_counts_that_come_to_their_turn_late_take_no_place_of_newer_ones(tmp_path: Path) -> None:
    shared = SharedCounts(tmp_path, "shadow-a")
    older, newer = shared.together(counted(1)), shared.together(counted(2))
    assert newer().outcomes["same"] == 2
    assert older().outcomes["same"] == 1, "its own counts, plus those of others"
    assert SharedCounts(tmp_path, "shadow-a").together(counted(0))().outcomes["same"] == 2


def test_without_a_place_to_write_a_process_goes_on_alone_and_says_so_once(
    tmp_path: Path, logged: list[logging.LogRecord]
) -> None:
    shared = SharedCounts(tmp_path / "none", "shadow-a")
    assert shared.together(counted(2))().outcomes["same"] == 2
    assert shared.together(counted(3))().outcomes["same"] == 3
    assert [record.getMessage() for record in logged] == [
        "counts of a shadow are not shared between processes: FileNotFoundError"
    ]
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "shadow-a.1-1.json").write_text("half of")
    assert shared.together(counted(3))().outcomes["same"] == 3
