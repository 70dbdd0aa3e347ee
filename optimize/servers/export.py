"""Writes the expert of a cascade as a model of Triton's or MLServer's repository: whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from optimize.errors import ExportError
from optimize.servers.graph import Graph
from optimize.servers.mlserver import mlserver_files
from optimize.servers.triton import triton_files
from serving.cascade.modality import StoredCascade
from serving.expert.graph_form import version_of
from serving.model.artifact import VariantName, sha256_of

ServerName = Literal["triton", "mlserver"]
Files = Mapping[str, str | Path]
"""What a model's folder holds, by the path inside it: a text, or the file to copy."""
FILES: dict[ServerName, Callable[[Graph], Files]] = {"triton": triton_files, "mlserver": mlserver_files}
PORTS: dict[ServerName, dict[str, int]] = {
    "triton": {"http": 8000, "grpc": 8001},
    "mlserver": {"http": 8080, "grpc": 8081},
}
"""The servers' own defaults."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written, and the URLs by which a service asks it on this machine."""

    folder: Path
    kind: str
    variant: VariantName
    version: str
    urls: tuple[str, ...]


def export(
    cascade: StoredCascade, name: str, repository: Path, server: ServerName, variant: str | None = None
) -> Exported:
    """Write the folder NAME-expert of a model repository, which is made if need be.

    Without `variant`, the one that the promise was made for. Raises ExportError if the expert has no such variant, the
    server cannot run it, or the folder is there and holds something else.
    """
    artifact, model = cascade.expert.artifact, f"{name}-expert"
    wanted = variant or cascade.point.point.expert_variant
    found = [(each, chosen) for each, chosen in artifact.manifest.variants.items() if each == wanted]
    if not found:
        raise ExportError(f"{model} has no variant {wanted}; choose one of {', '.join(artifact.manifest.variants)}")
    ((chosen_name, chosen),) = found
    if chosen.runtime != "onnxruntime":
        raise ExportError(
            f"{wanted} of {model} runs in OpenVINO, and export-triton writes for ONNX Runtime; choose another --variant"
        )
    version = version_of(artifact.digest, chosen_name)
    graph = Graph(
        model, chosen_name, chosen, artifact.manifest, artifact.digest, version, artifact.folder / chosen.file
    )
    folder = repository / model
    write_whole(folder, FILES[server](graph))
    urls = tuple(f"oip+{way}://localhost:{port}/{model}" for way, port in PORTS[server].items())
    kind = artifact.manifest.settings.kind
    return Exported(folder=folder, kind=kind, variant=chosen_name, version=version, urls=urls)


def write_whole(folder: Path, files: Files) -> None:
    """Write a folder beside, then rename it. One that holds these files already stays; else ExportError is raised."""
    if folder.exists():
        if not _holds(folder, files):
            raise ExportError(
                f"{folder} must not exist, or hold what is exported, got something else in it; remove it, or export "
                "into another folder"
            )
        return
    beside = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        for path, content in files.items():
            target = beside / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, target)
            else:
                target.write_text(content, encoding="utf-8")
        os.rename(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _holds(folder: Path, files: Files) -> bool:
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    # What Python wrote beside the runtime when a server imported it.
    there = {name: path for name, path in there.items() if "__pycache__" not in path.parts}
    return there.keys() == files.keys() and all(
        sha256_of(there[name]) == sha256_of(content)
        if isinstance(content, Path)
        else there[name].read_text(encoding="utf-8", errors="replace") == content
        for name, content in files.items()
    )
