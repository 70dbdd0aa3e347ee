"""Model stores for measuring: copies of a published cascade with another operating point, or with empty graphs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import yaml
from onnx import TensorProto, helper

from serving.model.artifact import MANIFEST, OPERATING_POINT, Artifact, sha256_of, write_json

ROLES = ("screen", "expert", "operating-point")
ALWAYS, NEVER = 1.1, 0.0
"""Thresholds at which everything, or nothing, escalates."""
MARK = "version.txt"
"""A file by which a version of an artifact differs."""


def make_home(home: Path, models: Path, cascade: str, *, threshold: float | None, empty: tuple[str, ...] = ()) -> Path:
    """A new BentoML home with a copy of `cascade` from the model store `models`, and with this threshold.

    None keeps the cascade's own. The roles in `empty` get a graph that does almost no work.
    """
    folders = {}
    for role in ROLES:
        stored = latest(models, f"{cascade}-{role}")
        target = home / "models" / f"{cascade}-{role}" / stored.name
        shutil.copytree(stored, target)
        (target.parent / "latest").write_text(stored.name)
        folders[role] = target
    for role in empty:
        _empty(folders[role])
    point = json.loads((folders["operating-point"] / OPERATING_POINT).read_text())
    # The others are as they were, and may be in the format of another version.
    digests = {f"{role}_digest": Artifact.open(folders[role]).digest for role in empty}
    moved = {} if threshold is None else {"threshold": threshold}
    write_json(folders["operating-point"] / OPERATING_POINT, {**point, **digests, **moved})
    return home


def latest(models: Path, name: str) -> Path:
    """The folder of the latest version of a model in a store."""
    return models / name / (models / name / "latest").read_text().strip()


def add_copy(home: Path, cascade: str, name: str) -> None:
    """Add the latest version of a cascade of a home under another name, to be served beside it."""
    for role in ROLES:
        stored = latest(home / "models", f"{cascade}-{role}")
        target = home / "models" / f"{name}-{role}" / stored.name
        shutil.copytree(stored, target)
        (target.parent / "latest").write_text(stored.name)
        said = yaml.safe_load((target / "model.yaml").read_text())
        (target / "model.yaml").write_text(yaml.safe_dump({**said, "name": f"{name}-{role}"}))


def _empty(folder: Path) -> None:
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    for variant in manifest["variants"].values():
        path = folder / variant["file"]
        onnx.save(_nothing(onnx.load(path), len(manifest["labels"])), path)
        variant["sha256"] = manifest["files"][variant["file"]] = sha256_of(path)
        variant["size_bytes"] = path.stat().st_size
    write_json(folder / MANIFEST, manifest)


def _nothing(model: onnx.ModelProto, labels: int) -> onnx.ModelProto:
    """A graph with the inputs and the output of `model`; its logits are the sum of the first input times constants."""
    first = model.graph.input[0].name
    weights = helper.make_tensor("weights", TensorProto.FLOAT, [1, labels], [1e-6 * place for place in range(labels)])
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    nodes = [
        helper.make_node("Cast", [first], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["floats", "axes"], ["sums"], keepdims=1),
        helper.make_node("MatMul", ["sums", "weights"], ["logits"]),
    ]
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch_size", labels])
    graph = helper.make_graph(nodes, "nothing", list(model.graph.input), [output], [weights, axes])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def add_version(home: Path, cascade: str, version: str) -> None:
    """Add a version of a cascade to a home: the same models under other digests. The latest one stays the latest."""
    digests: dict[str, str] = {}
    for role in ROLES:
        stored = latest(home / "models", f"{cascade}-{role}")
        target = stored.with_name(version)
        shutil.copytree(stored, target)
        said = yaml.safe_load((target / "model.yaml").read_text())
        (target / "model.yaml").write_text(yaml.safe_dump({**said, "version": version}))
        if role == "operating-point":
            point = json.loads((target / OPERATING_POINT).read_text())
            write_json(target / OPERATING_POINT, {**point, **digests})
            continue
        (target / MARK).write_text(version)
        manifest: dict[str, Any] = json.loads((target / MANIFEST).read_text())
        manifest["files"][MARK] = sha256_of(target / MARK)
        write_json(target / MANIFEST, manifest)
        digests[f"{role}_digest"] = Artifact.open(target).digest
