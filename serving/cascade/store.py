"""BentoML's model store, read without BentoML: `NAME/VERSION/model.yaml` in one folder, and `NAME/latest`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from serving.errors import ArtifactError

LATEST, ABOUT = "latest", "model.yaml"
MADE = re.compile(r"^creation_time: ['\"]?([^'\"\n]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """A model of the store. Its tag is NAME:VERSION."""

    tag: str
    path: str


def stored_in(folder: Path, name: str) -> list[StoredEntry]:
    """All versions of the model `name` in the store `folder`, the newest first.

    Raises ArtifactError where a model does not say when it was made.
    """
    there = [path for path in (folder / name).glob("*") if path.is_dir()]
    return [StoredEntry(f"{name}:{path.name}", str(path)) for path in sorted(there, key=_made, reverse=True)]


def of_tag(folder: Path, tag: str) -> StoredEntry:
    """The model of a tag NAME:VERSION; NAME:latest is the version that BentoML has noted, or the newest.

    Raises ArtifactError where there is none.
    """
    name, _, version = tag.partition(":")
    if version == LATEST:
        noted = folder / name / LATEST
        version = noted.read_text(encoding="utf-8").strip() if noted.is_file() else ""
        if not (version and (folder / name / version).is_dir()):
            version = next((Path(entry.path).name for entry in stored_in(folder, name)), "")
    path = folder / name / version
    if not version or not path.is_dir():
        raise ArtifactError(f"model {tag} is not in the model store of this service; publish it there, or start anew")
    return StoredEntry(f"{name}:{version}", str(path))


def _made(path: Path) -> datetime:
    """When a model was made, as its file says; the time has its zone."""
    try:
        stated = MADE.search((path / ABOUT).read_text(encoding="utf-8"))
        return datetime.fromisoformat(stated[1].strip()) if stated else datetime.fromisoformat("")
    except (OSError, ValueError):
        raise ArtifactError(
            f"{path / ABOUT} must say when the model was made, got a file that does not; publish the model again"
        ) from None
