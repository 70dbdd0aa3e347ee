"""Finds and opens what the model store has of a cascade."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import StoredCascade, StoredModel, StoredPoint
from serving.errors import ArtifactError
from serving.model.artifact import Artifact, read_manifest

SHORT = 12
"""Characters of a digest that a message shows."""
NAMED_VERSIONS = 5


class Entry(Protocol):
    """A model of the store. Its tag is NAME:VERSION."""

    @property
    def tag(self) -> object: ...

    @property
    def path(self) -> str: ...


Store = Callable[[str], Sequence[Entry]]
"""All versions of the model of this name, the newest first."""


def open_cascade(screen: Entry, expert: Entry, point: Entry) -> StoredCascade:
    """The cascade of these three. Raises ArtifactError where one is damaged, or they do not belong together."""
    return StoredCascade(
        screen=StoredModel(Artifact.open(Path(screen.path)), str(screen.tag)),
        expert=StoredModel(Artifact.open(Path(expert.path)), str(expert.tag)),
        point=StoredPoint(OperatingPoint.read(Path(point.path)), str(point.tag)),
    )


def find_cascade(store: Store, name: str, version: str | None) -> StoredCascade:
    """The cascade `name` of this version, the newest for None.

    The version is that of its operating point, which says which screen and which expert belong to it. Raises
    ArtifactError where one of the three is not there or cannot be read.
    """
    entry = _find(store, f"{name}-operating-point", version)
    point = OperatingPoint.read(Path(entry.path))
    screen = _of_digest(store, f"{name}-screen", point.screen_digest)
    return open_cascade(screen, _of_digest(store, f"{name}-expert", point.expert_digest), entry)


def find_expert(store: Store, name: str, version: str | None) -> Entry:
    """The expert of the cascade `name` of this version, the newest for None. Raises ArtifactError if there is none."""
    return _find(store, f"{name}-expert", version)


def version_of(entry: Entry) -> str:
    """The version in a tag."""
    return str(entry.tag).partition(":")[2]


def _find(store: Store, name: str, version: str | None) -> Entry:
    there = store(name)
    for entry in there:
        if version is None or version_of(entry) == version:
            return entry
    named = ", ".join(map(version_of, there[:NAMED_VERSIONS])) or "none"
    raise ArtifactError(
        f"no such version of {name} is in this machine's model store, whose newest are: {named}; publish it there, "
        "or name one that is there"
    )


def _of_digest(store: Store, name: str, digest: str) -> Entry:
    """The model of this name whose artifact has this digest."""
    unread: list[ArtifactError] = []
    for entry in store(name):
        try:
            if read_manifest(Path(entry.path)).digest == digest:
                return entry
        except ArtifactError as error:
            unread.append(error)
    also = f". One could not be read: {unread[0]}" if unread else ""
    raise ArtifactError(
        f"the operating point was chosen for the {name} with the digest {digest[:SHORT]}, which is not in the model "
        f"store of this machine; publish the three of one run{also}"
    )
