"""The file of a promise: shared by real processes, found again, and not needed where the disk is full."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from serving.audit.shared import FOLDER, SharedState, folder_of
from serving.audit.state import AGREES, Rule, Told
from tests.conftest import ROOT

RULE = Rule(alpha=0.01, delta=0.05, thresholds=(0.8, 0.9, 1.000001), raises=True)
NAME = "mine-operating-point:v1"


def told(agrees: int, differs: int = 0, life: int = 0) -> Told:
    n = agrees + differs
    return Told(life=life, items=n, trusted=n, dropped=1, results=Counter({(0, AGREES): agrees, (0, 1): differs}))


def test_a_restart_finds_all_that_was_counted_and_how_far_the_threshold_has_risen(tmp_path: Path) -> None:
    shared = SharedState(tmp_path / "new" / "folder", NAME, RULE)
    shared.update(told(90))
    before = shared.update(told(10, 30))
    assert (before.verdict(RULE), before.threshold(0.8)) == ("broken", 0.9)
    again = SharedState(tmp_path / "new" / "folder", NAME, RULE).update(Told())
    assert again == before
    assert (again.audited, again.disagreed, again.dropped) == (130, 30, 2)
    other = SharedState(tmp_path / "new" / "folder", "mine-operating-point:v2", RULE).update(Told())
    assert (other.audited, other.raised) == (0, []), "another version begins anew"


ADDS = """
import sys
from pathlib import Path
from tests.serving.audit.test_shared import NAME, RULE, told
from serving.audit.shared import SharedState
shared = SharedState(Path(sys.argv[1]), NAME, RULE)
for _ in range(100):
    shared.update(told(3))
"""


def test_processes_that_add_at_once_add_up(tmp_path: Path) -> None:
    adding = [subprocess.Popen([sys.executable, "-c", ADDS, str(tmp_path)], cwd=ROOT) for _ in range(3)]
    assert [process.wait() for process in adding] == [0, 0, 0]
    state = SharedState(tmp_path, NAME, RULE).update(Told())
    assert (state.audited, state.whole.items, state.dropped) == (900, 900, 300)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".lock"]


def test_where_the_disk_is_full_it_goes_on_and_saves_all_once_there_is_room(
    tmp_path: Path, logged: list[logging.LogRecord]
) -> None:
    shared = SharedState(tmp_path, NAME, RULE)
    shared.update(told(5))
    beside = tmp_path / f"mine-operating-point@v1.{os.getpid()}"
    for _ in range(3):
        beside.symlink_to("/dev/full")  # the real error of a full disk
        state = shared.update(told(7))
        assert shared.unsaved
    assert state.audited == 26
    assert [record.levelno for record in logged] == [logging.ERROR], "it is told once"
    assert "No space left on device" in logged[0].getMessage()
    assert SharedState(tmp_path, NAME, RULE).update(Told()).audited == 5
    assert shared.update(Told()).audited == 26
    assert not shared.unsaved
    assert SharedState(tmp_path, NAME, RULE).update(Told()).audited == 26
    assert "saved again" in logged[1].getMessage()


def test_a_promise_that_breaks_while_the_disk_is_full_breaks_and_the_threshold_rises(tmp_path: Path) -> None:
    shared = SharedState(tmp_path / "file", NAME, RULE)
    (tmp_path / "file").write_text("no folder can be made here")
    state = shared.update(told(10, 30))
    assert (state.verdict(RULE), state.threshold(0.8), shared.unsaved) == ("broken", 0.9, True)
    assert shared.update(told(5, life=1)).whole.n == 5, "of the next life"


@pytest.mark.parametrize("content", [b"", b"{", b'{"life": "one"}', b"\xff"])
def test_a_damaged_file_is_put_aside_and_the_audit_begins_anew(
    tmp_path: Path, content: bytes, logged: list[logging.LogRecord]
) -> None:
    path = tmp_path / "mine-operating-point@v1.json"
    path.write_bytes(content)
    assert SharedState(tmp_path, NAME, RULE).update(told(4)).audited == 4
    assert path.with_suffix(".damaged").read_bytes() == content
    assert "put aside" in logged[0].getMessage()
    assert SharedState(tmp_path, NAME, RULE).update(Told()).audited == 4


def test_a_process_alone_keeps_it_in_memory() -> None:
    shared = SharedState(None, NAME, RULE)
    assert [shared.update(told(2)).audited for _ in range(3)] == [2, 4, 6]


def test_the_folder_lies_beside_that_of_the_metrics_unless_one_is_named() -> None:
    assert folder_of("", Path("/home/metrics-1")) == Path("/home") / FOLDER
    assert folder_of("/var/audit", Path("/home/metrics-1")) == Path("/var/audit")
    assert folder_of("", None) is None
