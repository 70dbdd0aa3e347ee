"""Two checkouts held against each other: whose turn it is, what a row says, and which folder is refused."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import versions
from benchmarks.versions import one_round, row, table, version


def test_a_row_has_the_median_of_the_ratios_and_their_spread() -> None:
    rounds = [{"this": this, "other": 100.0} for this in (96.0, 98.0, 110.0, 97.0, 99.0)]
    found = row("expert", 8, rounds * 2)
    ratio = {"median": 0.98, "lower_quartile": 0.97, "upper_quartile": 0.99, "least": 0.96, "most": 1.1}
    assert found["ratio"] == ratio
    assert found["holds"]
    assert not row("expert", 8, [{"this": 96.9, "other": 100.0}] * 2)["holds"]
    assert row("expert", 8, [{"this": 97.0, "other": 100.0}] * 2)["holds"]
    line = "| expert | 8 | 100 | 98 | 0.980 (0.970 to 0.990; 0.960 to 1.100) | holds |"
    assert table([found]).splitlines()[-1] == line


def test_what_the_servers_that_start_first_lose_does_not_count() -> None:
    """A server that starts first answers 90 requests in the time of 100."""
    this_first = [{"this": 90.0, "other": 100.0}] * 3
    other_first = [{"this": 100.0, "other": 90.0}] * 3
    assert row("screen", 1, [*this_first, *other_first])["ratio"]["median"] == 1.0


def test_the_checkouts_take_turns_and_swap_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def loop(url: str, body: Mapping[str, object], *, connections: int, seconds: float) -> dict[str, float]:
        asked.append(f"{url.removesuffix('/classify_text')} {connections}")
        return {"per_s": float(len(asked))}

    monkeypatch.setattr(versions, "closed_loop", loop)
    servers: Any = {
        (side, stage): SimpleNamespace(url=f"{side}-{stage}")
        for side in ("this", "other")
        for stage in ("screen", "expert")
    }
    found = one_round(servers, {}, seconds=1, swapped=False)
    assert asked[:4] == ["other-screen 1", "this-screen 1", "other-screen 8", "this-screen 8"]
    assert found["screen", 1] == {"other": 1.0, "this": 2.0}
    assert set(found) == {(stage, connections) for stage in ("screen", "expert") for connections in (1, 8, 32)}
    asked.clear()
    one_round(servers, {}, seconds=1, swapped=True)
    assert asked[:2] == ["this-screen 1", "other-screen 1"]


def test_a_version_is_a_commit_and_says_whether_files_differ(tmp_path: Path) -> None:
    def git(*arguments: str) -> str:
        line = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@t", *arguments]
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()

    git("init", "-q")
    (tmp_path / "a").write_text("1")
    git("add", "a")
    git("commit", "-qm", "a")
    assert version(tmp_path) == git("rev-parse", "--short", "HEAD")
    (tmp_path / "a").write_text("2")
    assert version(tmp_path) == git("rev-parse", "--short", "HEAD") + "+changes"


def test_a_folder_without_a_service_is_refused(tmp_path: Path) -> None:
    nothing: Any = None
    with contextlib.ExitStack() as stack, pytest.raises(SystemExit, match=r"got a folder without service\.py"):
        versions.start({"other": tmp_path}, {"other": tmp_path}, nothing, tmp_path, stack)
