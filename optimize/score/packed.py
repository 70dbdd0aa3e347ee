"""A cascade as bytes, so that a process on another machine opens it without a model store."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from optimize.publish.cascades import ROLES, cascade_of
from serving.cascade.modality import StoredCascade
from serving.model.artifact import OPERATING_POINT

TAGS = "tags"


def packed(cascade: StoredCascade) -> bytes:
    """A tar of a cascade's files."""
    screen, expert, point = cascade.screen, cascade.expert, cascade.point
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as archive:
        for role, stage in zip(ROLES, (screen, expert), strict=False):
            archive.add(stage.artifact.folder, arcname=role)
        _add(archive, f"{ROLES[2]}/{OPERATING_POINT}", point.point.model_dump_json())
        _add(archive, TAGS, "\n".join((screen.tag, expert.tag, point.tag)))
    return held.getvalue()


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def unpacked(data: bytes, folder: Path) -> StoredCascade:
    """The cascade of `packed`, opened from files in `folder`, which stay as long as it is used."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        archive.extractall(folder, filter="data")
    return cascade_of([folder / role for role in ROLES], (folder / TAGS).read_text(encoding="utf-8").splitlines())
