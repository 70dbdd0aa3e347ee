"""The files of an artifact: each is the one that the manifest names, and none lies elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

from serving.errors import ArtifactError

MANIFEST = "manifest.json"
ANEW = "make and publish the artifact anew with `python -m optimize run RECIPE`"


def check_file(root: Path, name: str, expected: str) -> None:
    """Raise ArtifactError unless a file of the manifest lies in the folder `root` and has its sha256."""
    path = root / name
    if not path.is_file():
        raise ArtifactError(f"{path}: the manifest names this file and it is not there; {ANEW}")
    if not path.resolve().is_relative_to(root.resolve()):
        raise ArtifactError(
            f"{path}: a file of an artifact must lie in its folder, and this is a symbolic link that leads out of it; "
            "put the file itself there"
        )
    if sha256_of(path) != expected:
        raise ArtifactError(
            f"{path}: its sha256 is not the one in {MANIFEST}, so the file was changed or damaged; {ANEW}"
        )


def require_no_other(folder: Path, listed: Collection[Path]) -> None:
    """Raise ArtifactError if a graph's folder holds a file that is not `listed`.

    A graph may keep weights in files beside it, and serving has no onnx to ask which.
    """
    for path in folder.rglob("*"):
        if not path.is_dir() and path not in listed:
            raise ArtifactError(
                f"{path}: every file beside a graph must be one of files in {MANIFEST}, and this is not; remove it, or "
                f"save the graph with its weights inside and {ANEW}"
            )


def sha256_of(path: Path) -> str:
    """The sha256 of a file, as hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
