"""A tiny image artifact made by hand: a graph of one product, and variants of it for the runtimes that a test names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from serving.model.artifact import MANIFEST, Artifact, ImageSettings, Manifest, Variant, VariantName, sha256_of
from serving.model.golden import GOLDEN, Golden
from serving.model.session import open_graph

SIDE, LABELS = 16, ("a", "b", "c")
GRAPH = "cpu-fp32/model.onnx"


def save_product(path: Path, operator: str = "Relu", domain: str = "") -> Path:
    """A graph from pixel_values [batch, 1, 16, 16] to logits [batch, 3]: `operator`, then a product."""
    weight = np.random.default_rng(0).normal(size=(SIDE * SIDE, len(LABELS))).astype(np.float32)
    nodes = [
        helper.make_node(operator, ["pixel_values"], ["positive"], domain=domain),
        helper.make_node("Flatten", ["positive"], ["row"]),
        helper.make_node("MatMul", ["row", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, ["batch", 1, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(LABELS)])],
        [numpy_helper.from_array(weight, "weight")],
    )
    opsets = [helper.make_opsetid("", 18), *([helper.make_opsetid(domain, 1)] if domain else [])]
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def pixels(count: int, seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Items [count, 1, 16, 16]."""
    return np.random.default_rng(seed).normal(size=(count, 1, SIDE, SIDE)).astype(np.float32)


def make_artifact(
    folder: Path, variants: Sequence[VariantName], *, role: Any = "screen", golden: bool = True
) -> Artifact:
    """An artifact whose variants share one graph; the last one for the CPU is the default."""
    graph = save_product(folder / GRAPH)
    digest = sha256_of(graph)
    files = {GRAPH: digest}
    if golden:
        run, _ = open_graph(graph, "CPUExecutionProvider", 1, "onnxruntime")
        items = pixels(4)
        Golden(items=list(items), logits={name: run({"pixel_values": items}) for name in variants}).save(folder)
        files[GOLDEN] = sha256_of(folder / GOLDEN)
    manifest = Manifest(
        name=folder.name,
        role=role,
        labels=LABELS,
        settings=ImageSettings(width=SIDE, height=SIDE, mode="L", mean=(0.5,), std=(0.5,)),
        variants={
            name: Variant(
                file=GRAPH,
                precision=next(each for each in ("int8", "fp16", "bf16", "fp32") if each in name),
                provider="CUDAExecutionProvider" if name.startswith("gpu-") else "CPUExecutionProvider",
                sha256=digest,
                size_bytes=graph.stat().st_size,
                runtime="openvino" if name.endswith("openvino") else "onnxruntime",
            )
            for name in variants
        },
        default_cpu=[name for name in variants if not name.startswith("gpu-")][-1],
        default_gpu=next((name for name in variants if name.startswith("gpu-")), None),
        files=files,
        seed=0,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    return Artifact.open(folder)
