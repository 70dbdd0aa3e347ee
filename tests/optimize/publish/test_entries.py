"""Three entries become the latest together, whatever stops the publishing, and the store can always be listed."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from bentoml._internal.models.model import ModelStore

from optimize.publish.entries import STAGE, Entry, add_together
from serving.errors import ArtifactError
from tests.commands import ROOT

NAMES = ("c-expert", "c-screen", "c-operating-point")
MOVES = 6  # of three versions and three `latest` files


def entries(folder: Path, content: str) -> list[Entry]:
    """Three entries that hold a file with `content`."""
    made = []
    for name in NAMES:
        source = folder / content / name
        source.mkdir(parents=True, exist_ok=True)
        (source / "content").write_text(content)

        def same(stored: Path, wanted: str = content) -> bool:
            return (stored / "content").read_text() == wanted

        labels = {"made-by": content}
        made.append(Entry(name=name, folder=source, module="m", labels=labels, metadata={"of": content}, same=same))
    return made


def served(models: Path) -> list[str]:
    """What the latest of each name holds."""
    return [(Path(ModelStore(models).get(f"{name}:latest").path) / "content").read_text() for name in NAMES]


def files(models: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in models.rglob("*") if path.is_file()}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A store that serves the three "old" entries."""
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    add_together(entries(tmp_path, "old"), models)
    assert served(models) == ["old"] * 3
    return models


def at_move(monkeypatch: pytest.MonkeyPatch, number: int, do: Callable[[], object]) -> None:
    """Let `do` come before the move with this number, counted from 1, of versions and `latest` files."""
    count = 0

    def before(usual: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def moving(source: Path, target: Path) -> Path:
            nonlocal count
            count += 1
            if count == number:
                do()
            return usual(source, target)

        return moving

    monkeypatch.setattr(Path, "rename", before(Path.rename))
    monkeypatch.setattr(Path, "replace", before(Path.replace))


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_entries_become_the_latest_and_the_same_are_not_added_again(models: Path, tmp_path: Path) -> None:
    tags = add_together(entries(tmp_path, "new"), models)
    assert [tag.partition(":")[0] for tag in tags] == list(NAMES)
    assert served(models) == ["new"] * 3
    before = files(models)
    assert add_together(entries(tmp_path, "new"), models) == tags
    assert files(models) == before
    assert add_together([*entries(tmp_path, "new")[:2], entries(tmp_path, "point")[2]], models)[:2] == tags[:2]
    assert served(models) == ["new", "new", "point"]
    stored: Any = ModelStore(models).get("c-screen:latest")
    assert (stored.info.labels, stored.info.metadata) == ({"made-by": "new"}, {"of": "new"})


@pytest.mark.parametrize("number", range(1, MOVES + 1))
def test_a_move_that_fails_takes_back_those_before_it(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = files(models)
    with monkeypatch.context() as patched:
        at_move(patched, number, fail)
        with pytest.raises(ArtifactError, match=r"nothing is published: .* \(No space left on device\); what was"):
            add_together(entries(tmp_path, "new"), models)
    assert files(models) == before
    assert not models.with_name(STAGE).exists()
    add_together(entries(tmp_path, "new"), models)
    assert served(models) == ["new"] * 3


@pytest.mark.parametrize("number", range(1, MOVES + 1))
def test_the_first_publishing_leaves_nothing_behind_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    models = tmp_path / "home" / "models"
    models.mkdir(parents=True)
    at_move(monkeypatch, number, fail)
    with pytest.raises(ArtifactError, match="nothing is published"):
        add_together(entries(tmp_path, "new"), models)
    assert files(models) == {}


@pytest.mark.parametrize("copies", range(3))
def test_a_full_disk_changes_nothing(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies: int
) -> None:
    """The disk fills up while the first, the second or the third entry is written."""
    before, usual = files(models), shutil.copyfile

    def copyfile(source: Any, target: Any, **options: Any) -> Any:
        if Path(source).name == "content" and NAMES[copies] in str(target):
            fail()
        return usual(source, target, **options)

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(ArtifactError, match=r"cannot be written \(.*No space left on device.*Make room"):
        add_together(entries(tmp_path, "new"), models)
    assert files(models) == before
    assert not models.with_name(STAGE).exists()


@pytest.mark.parametrize("number", range(1, MOVES + 1))
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_between_two_moves_waits_for_the_last(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sent: signal.Signals
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    usual = signal.signal(sent, stop)
    try:
        with monkeypatch.context() as patched:
            at_move(patched, number, lambda: os.kill(os.getpid(), sent))
            with pytest.raises(KeyboardInterrupt):
                add_together(entries(tmp_path, "new"), models)
        assert signal.getsignal(sent) is stop
    finally:
        signal.signal(sent, usual)
    assert served(models) == ["new"] * 3
    assert not models.with_name(STAGE).exists()


KILLED = """
import os, signal, sys
from pathlib import Path
import pytest
from tests.optimize.publish.test_entries import add_together, at_move, entries
folder, models, number = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
at_move(pytest.MonkeyPatch(), number, lambda: os.kill(os.getpid(), signal.SIGKILL))
add_together(entries(folder, "new"), models)
"""


@pytest.mark.parametrize("number", [1, 2, 4, 5, 6])
def test_what_a_killed_publishing_left_is_finished_by_the_next(models: Path, tmp_path: Path, number: int) -> None:
    arguments = [sys.executable, "-c", KILLED, str(tmp_path), str(models), str(number)]
    killed = subprocess.run(arguments, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    switched = max(0, number - 4)  # the `latest` files, in the order of their names
    assert sorted(served(models)) == ["new"] * switched + ["old"] * (3 - switched)
    assert len(ModelStore(models).list()) == 3 + min(number - 1, 3)

    # Another cascade is published next.
    other = tmp_path / "other"
    other.mkdir()
    entry = Entry(name="other", folder=other, module="m", labels={}, metadata={}, same=lambda _: False)
    add_together([entry], models)
    assert served(models) == ["new"] * 3
    assert not models.with_name(STAGE).exists()


def test_what_was_killed_before_all_was_there_is_forgotten(models: Path, tmp_path: Path) -> None:
    half = models.with_name(STAGE) / "c-screen" / "half"
    half.mkdir(parents=True)
    add_together(entries(tmp_path, "old"), models)
    assert served(models) == ["old"] * 3
    assert not half.exists()
    assert len(ModelStore(models).list()) == 3


@pytest.mark.parametrize("damaged", [False, True])
def test_what_is_published_with_the_clock_set_back_is_the_newest(models: Path, tmp_path: Path, damaged: bool) -> None:
    """A running service takes the version with the latest time for the newest."""
    for name in NAMES:
        (description,) = (models / name).glob("*/model.yaml")
        said = yaml.safe_load(description.read_text())
        later = datetime.now(UTC) + timedelta(hours=1)
        description.write_text(yaml.safe_dump({**said, "creation_time": later.isoformat()}))
        if damaged:
            shutil.copytree(description.parent, models / name / "damaged")
            (models / name / "damaged" / "model.yaml").write_text("creation_time: [")
    for content in ("new", "newer"):
        add_together(entries(tmp_path, content), models)
    shutil.rmtree(models / NAMES[0] / "damaged", ignore_errors=True)
    there = sorted(ModelStore(models).list(NAMES[0]), key=lambda model: model.info.creation_time)
    assert [(Path(model.path) / "content").read_text() for model in there] == ["old", "new", "newer"]
    assert served(models) == ["newer"] * 3
