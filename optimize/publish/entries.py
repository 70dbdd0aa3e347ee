"""Adds entries to BentoML's model store and makes them the latest of their names: all of them, or none.

BentoML reads what NAME:latest means from the file NAME/latest of its store. New versions are made in a folder beside
the store, each with its `latest`. Only when all are whole they are moved into the store, first the versions, which
nobody asks for yet, then the `latest` files. Moves take no room, and signals wait until they are done. If one fails,
those before it are taken back. If the process is killed between two, the next publishing makes the rest.
"""

from __future__ import annotations

import datetime
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGINT, SIGTERM
from typing import Any

import bentoml
import yaml
from bentoml._internal.models.model import ModelStore  # the public functions know one store, and no stage beside it
from filelock import FileLock

from serving.errors import ArtifactError

STAGE = "sieve-publishing"
WHOLE = "whole"
"""The file in the stage that says: all is there, so that what is left of it is to be moved."""
LATEST, BEFORE = "latest", "latest-before"
MODEL_YAML = "model.yaml"
"""Holds the time of a version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A version to add to the model `name`, with what `folder` holds."""

    name: str
    folder: Path
    module: str
    labels: Mapping[str, str]
    metadata: Mapping[str, Any]
    same: Callable[[Path], bool]
    """Whether the folder of a stored version serves the same. It may raise ArtifactError if it cannot be read."""


def add_together(entries: Sequence[Entry], models: Path) -> list[str]:
    """Make `entries` the latest in the model store whose folder is `models`, and return their tags.

    An entry is not added if the latest version serves the same. Raises ArtifactError if the store cannot be written; it
    is then as it was. For the main thread only, because it holds back signals.
    """
    stage = models.with_name(STAGE)
    try:
        with FileLock(models.with_name(f".{STAGE}.lock")):
            _finish(stage, models)
            stage.mkdir()
            try:
                tags = [_latest(entry, models) or _staged(entry, stage, models) for entry in entries]
                (stage / WHOLE).touch()
            except BaseException:
                shutil.rmtree(stage, ignore_errors=True)
                raise
            with _signals_wait():
                _finish(stage, models)
            return tags
    except OSError as error:
        # copytree gathers the failures of all files.
        why = error.args[0][0][2] if type(error) is shutil.Error else error.strerror
        raise ArtifactError(
            f"nothing is published: the model store {models} cannot be written ({why}); what was published before is "
            "still served. Make room or mend the permissions, then run `python -m optimize publish RECIPE`"
        ) from None


def _latest(entry: Entry, models: Path) -> str | None:
    """The tag of the latest version if it serves the same as `entry`."""
    try:
        latest = ModelStore(models).get(f"{entry.name}:latest")
        return str(latest.tag) if entry.same(Path(latest.path)) else None
    except (bentoml.exceptions.BentoMLException, ArtifactError):
        return None  # there is none, or it cannot be read


def _staged(entry: Entry, stage: Path, models: Path) -> str:
    """Make a version of `entry` in the stage, with a copy of the `latest` that it is to replace."""
    with bentoml.models.create(
        entry.name,
        module=entry.module,
        labels=dict(entry.labels),
        metadata=dict(entry.metadata),
        _model_store=ModelStore(stage),
    ) as model:
        shutil.copytree(entry.folder, model.path, dirs_exist_ok=True)
    _date_last(stage / model.tag.path() / MODEL_YAML, entry.name, models)
    latest = models / model.tag.latest_path()
    if latest.exists():
        shutil.copy(latest, stage / model.tag.name / BEFORE)
    return str(model.tag)


def _date_last(description: Path, name: str, models: Path) -> None:
    """Let a new version be the newest of its name, also where the clock was set back since the last one.

    `description` is its model.yaml. A running service takes the version with the latest time for the newest.
    """
    before = [time for path in (models / name).glob(f"*/{MODEL_YAML}") if (time := _time_in(path)) is not None]
    made = _time_in(description)
    if made is not None and before and made <= max(before):
        said = yaml.safe_load(description.read_text(encoding="utf-8"))
        said["creation_time"] = (max(before) + datetime.timedelta(microseconds=1)).isoformat()
        description.write_text(yaml.safe_dump(said, sort_keys=False), encoding="utf-8")


def _time_in(description: Path) -> datetime.datetime | None:
    """The time of a version, which has a time zone; None where its description is damaged."""
    try:
        said = yaml.safe_load(description.read_text(encoding="utf-8"))
        return datetime.datetime.fromisoformat(str(said["creation_time"])).astimezone(datetime.UTC)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, KeyError, TypeError):
        return None


def _finish(stage: Path, models: Path) -> None:
    """Move what is staged into the store if all of it is there, and remove the stage."""
    try:
        if (stage / WHOLE).exists():
            _move(stage, models)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _move(stage: Path, models: Path) -> None:
    """Move versions and `latest` files into the store; take the moves back if one fails."""
    with ExitStack() as undo:
        try:
            for version in sorted(path for path in stage.glob("*/*") if path.is_dir()):
                target = models / version.relative_to(stage)
                target.parent.mkdir(exist_ok=True)
                version.rename(target)
                undo.callback(target.rename, version)
            for latest in sorted(stage.glob(f"*/{LATEST}")):
                target = models / latest.relative_to(stage)
                latest.replace(target)
                undo.callback(_restore, target, latest.with_name(BEFORE))
        except BaseException:
            (stage / WHOLE).unlink()  # killed from here on, the next publishing has nothing to finish
            raise
        undo.pop_all()


def _restore(latest: Path, before: Path) -> None:
    if before.exists():
        before.replace(latest)
    else:
        latest.unlink()


@contextmanager
def _signals_wait() -> Iterator[None]:
    """SIGINT and SIGTERM that arrive in this block come to effect at its end."""
    came: list[int] = []
    usual = {each: signal.signal(each, lambda number, _: came.append(number)) for each in (SIGINT, SIGTERM)}
    try:
        yield
    finally:
        for each, handler in usual.items():
            signal.signal(each, handler)
        for number in came:
            signal.raise_signal(number)
