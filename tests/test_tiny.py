from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where builds are kept; each is a single file, and a line in `log`."""

    def build(cascades: tiny.TinyCascades) -> None:
        cascades.folder.mkdir()
        (cascades.folder / "file").write_text("built")
        with (tmp_path / "log").open("a") as log:
            log.write("built\n")

    monkeypatch.setattr(tiny, "build", build)
    return tmp_path / "kept"


def test_cascades_are_built_once_and_each_copy_is_its_own(kept: Path, tmp_path: Path) -> None:
    first = tiny.copy_of_cascades(tmp_path / "first", kept)
    (first.folder / "file").write_text("changed")
    second = tiny.copy_of_cascades(tmp_path / "second", kept)
    assert (second.folder / "file").read_text() == "built"
    assert (tmp_path / "log").read_text() == "built\n"


def test_other_sources_are_another_build_and_the_oldest_builds_go(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        monkeypatch.setattr(tiny, "digest_of_sources", lambda number=number: f"digest-{number}")
        tiny.copy_of_cascades(tmp_path / f"copy-{number}", kept)
        os.utime(kept / f"digest-{number}", (number, number))
    assert (tmp_path / "log").read_text() == "built\n" * 5
    assert {path.name for path in kept.iterdir() if path.is_dir()} == {"digest-2", "digest-3", "digest-4"}


def test_what_a_killed_process_left_is_not_taken(kept: Path, tmp_path: Path) -> None:
    (kept / "partial").mkdir(parents=True)
    (kept / "partial" / "half").write_text("")
    copy = tiny.copy_of_cascades(tmp_path / "copy", kept)
    assert [path.name for path in copy.folder.iterdir()] == ["file"]


def test_the_digest_tells_sources_and_threads_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    one = tiny.digest_of_sources()
    assert tiny.digest_of_sources() == one
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert tiny.digest_of_sources() != one
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(tiny, "SOURCES", ("optimize/**/*.py",))
    assert tiny.digest_of_sources() != one
