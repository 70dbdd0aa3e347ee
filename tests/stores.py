"""Model stores to which a test adds: another version of a cascade, or a cascade of another name."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from serving.model.artifact import MANIFEST, OPERATING_POINT, Artifact, write_json
from tests.artifacts import claim, forge_golden

ROLES = ("screen", "expert", "operating-point")


def publish(
    models: Path, name: str, version: str, *, of: str = "", mark: str = "", forged: bool = False, **point: object
) -> None:
    """Add the cascade `name` in this version to a store, as the newest: a copy of the latest version of it or of `of`.

    All labels begin with `mark`, so that an answer tells which version gave it. With `forged` an expert does not
    compute its golden items. `point` are changes of the operating point.
    """
    digests = {}
    for role in ROLES:
        latest = models / f"{of or name}-{role}"
        folder = models / f"{name}-{role}" / version
        shutil.copytree(latest / (latest / "latest").read_text().strip(), folder)
        (folder.parent / "latest").write_text(version)
        said = yaml.safe_load((folder / "model.yaml").read_text())
        said |= {"name": f"{name}-{role}", "version": version, "creation_time": datetime.now(UTC).isoformat()}
        (folder / "model.yaml").write_text(yaml.safe_dump(said))
        if role == "operating-point":
            write_json(folder / OPERATING_POINT, {**_read(folder / OPERATING_POINT), **digests, **point})
            continue
        manifest = _read(folder / MANIFEST)
        write_json(folder / MANIFEST, {**manifest, "labels": [f"{mark}{label}" for label in manifest["labels"]]})
        if forged and role == "expert":
            for variant in manifest["variants"]:
                forge_golden(folder, variant)
            claim(folder)
        digests[f"{role}_digest"] = Artifact.open(folder).digest


def _read(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(path.read_text())
    return said
