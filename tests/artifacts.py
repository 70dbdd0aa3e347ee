"""Artifacts that were tampered with, whose manifests say so: digests are right, answers are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from serving.model.artifact import MANIFEST, OPERATING_POINT, Artifact, sha256_of, write_json
from serving.model.golden import GOLDEN, Golden


def claim(folder: Path) -> str:
    """Let the manifest state the digests that the files have now; returns the artifact's digest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"] = {name: sha256_of(folder / name) for name in manifest["files"] if (folder / name).exists()}
    for variant in manifest["variants"].values():
        variant["sha256"] = manifest["files"][variant["file"]]
    write_json(folder / MANIFEST, manifest)
    return Artifact.open(folder).digest


def change_weight(folder: Path, variant: str) -> None:
    """Add a lot to one weight of a variant: the first of the classifier's bias."""
    path = folder / variant / "model.onnx"
    graph = onnx.load(path)
    bias = next(tensor for tensor in graph.graph.initializer if tensor.name.endswith("classifier.bias"))
    values = numpy_helper.to_array(bias).copy()
    values[0] += 9
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))
    onnx.save(graph, path)


def forge_golden(folder: Path, variant: str) -> None:
    """Turn the golden logits of a variant round."""
    golden = Golden.read(folder)
    Golden(items=golden.items, logits={**golden.logits, variant: -np.asarray(golden.logits[variant])}).save(folder)


def leave_golden_out(folder: Path, _variant: str) -> None:
    """An artifact without golden items."""
    (folder / GOLDEN).unlink()


def claim_in_store(models: Path, name: str, role: str) -> None:
    """`claim` for an artifact of a model store, for whose new digest the operating point is chosen."""
    (folder,) = (path.parent for path in (models / f"{name}-{role}").glob(f"*/{MANIFEST}"))
    digest = claim(folder)
    (path,) = (models / f"{name}-operating-point").glob(f"*/{OPERATING_POINT}")
    write_json(path, {**json.loads(path.read_text()), f"{role}_digest": digest})


def prefer_int8(models: Path, name: str, role: str) -> None:
    """Let a model of a store run its INT8 variant, whichever was the faster one when it was made."""
    (path,) = (models / f"{name}-{role}").glob(f"*/{MANIFEST}")
    write_json(path, {**json.loads(path.read_text()), "default_cpu": "cpu-int8"})
    claim_in_store(models, name, role)
    (point,) = (models / f"{name}-operating-point").glob(f"*/{OPERATING_POINT}")
    write_json(point, {**json.loads(point.read_text()), f"{role}_variant": "cpu-int8"})
