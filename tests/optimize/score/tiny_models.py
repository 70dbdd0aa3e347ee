"""A cascade in milliseconds: graphs that sum a weight for each word, or look at how bright an image is."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers

from optimize.publish.cascades import cascade_of
from serving.cascade.modality import StoredCascade
from serving.model.artifact import (
    MANIFEST,
    OPERATING_POINT,
    ImageSettings,
    Manifest,
    TextSettings,
    Variant,
    sha256_of,
    write_json,
    write_text,
)
from tests.points import make_point

LABELS = ("bad", "fair", "good")
WORDS = ("awful", "poor", "plain", "usual", "fine", "superb")
"""Two for each label, the second of them a strong one; other words say nothing."""
GRAPH = "cpu-fp32/model.onnx"
PIXELS = 4


def tiny_cascade(folder: Path, kind: Literal["text", "image"] = "text", **changed: Any) -> StoredCascade:
    """A cascade whose screen is unsure of what has no strong word, or of an image that is neither dark nor bright.

    `changed` are fields of the manifests: `thresholds`, say, or `alone` of the variant; those in `expert` are its own.
    """
    own = {"screen": {}, "expert": changed.pop("expert", {})}
    for role, scale in (("screen", 1.0), ("expert", 3.0)):
        _write(folder / role, role, kind, scale, {**changed, **own[role]})
    artifacts = [Manifest.model_validate_json((folder / role / MANIFEST).read_bytes()) for role in ("screen", "expert")]
    point = make_point(
        threshold=0.7,
        screen_digest=artifacts[0].digest,
        expert_digest=artifacts[1].digest,
        screen_variant="cpu-fp32",
        expert_variant="cpu-fp32",
    )
    (folder / "operating-point").mkdir()
    write_text(folder / "operating-point" / OPERATING_POINT, point.model_dump_json())
    names = ("screen", "expert", "operating-point")
    return cascade_of([folder / name for name in names], [f"tiny-{name}:1" for name in names])


def _write(folder: Path, role: Any, kind: str, scale: float, changed: dict[str, Any]) -> None:
    (folder / GRAPH).parent.mkdir(parents=True)
    fields = dict(changed)
    alone = fields.pop("alone", False)
    settings: TextSettings | ImageSettings
    if kind == "text":
        _tokenizer().save(str(folder / "tokenizer.json"))
        inputs = ("input_ids", "attention_mask")
        stated = {"max_tokens": 8, "pad_token_id": 0, "inputs": inputs, **fields.pop("settings", {})}
        settings = TextSettings(**stated)
        onnx.save(_text_graph(scale), folder / GRAPH)
    else:
        settings = ImageSettings(width=PIXELS, height=PIXELS, mean=(0.5,) * 3, std=(0.25,) * 3)
        onnx.save(_image_graph(scale), folder / GRAPH)
    files = {
        path.relative_to(folder).as_posix(): sha256_of(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }
    variant = Variant(
        file=GRAPH,
        precision="fp32",
        provider="CPUExecutionProvider",
        sha256=files[GRAPH],
        size_bytes=(folder / GRAPH).stat().st_size,
        alone=alone,
    )
    manifest = Manifest(
        name=f"tiny-{role}",
        role=role,
        labels=LABELS,
        settings=settings,
        variants={"cpu-fp32": variant},
        default_cpu="cpu-fp32",
        files=files,
        seed=0,
        **fields,
    )
    write_json(folder / MANIFEST, manifest.model_dump(mode="json"))


def _tokenizer() -> Tokenizer:
    made = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, **{w: 2 + n for n, w in enumerate(WORDS)}}, "[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    return made


def _text_graph(scale: float) -> onnx.ModelProto:
    weights = np.zeros((2 + len(WORDS), len(LABELS)), dtype=np.float32)
    for number in range(len(WORDS)):
        weights[2 + number, number // 2] = scale * (1.0, 4.0)[number % 2]
    nodes = [
        helper.make_node("Gather", ["weights", "input_ids"], ["words"]),
        helper.make_node("Cast", ["attention_mask"], ["there"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["there", "last"], ["mask"]),
        helper.make_node("Mul", ["words", "mask"], ["counted"]),
        helper.make_node("ReduceSum", ["counted", "tokens"], ["logits"], keepdims=0),
    ]
    initializers = {"weights": weights, "last": np.array([2]), "tokens": np.array([1])}
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["b", "t"]) for n in ("input_ids", "attention_mask")]
    return _model(nodes, inputs, initializers)


def _image_graph(scale: float) -> onnx.ModelProto:
    """Bright images are good, dark ones bad."""
    weights = np.zeros((3, len(LABELS)), dtype=np.float32)
    weights[:, 0], weights[:, 2] = -scale, scale
    nodes = [
        helper.make_node("ReduceMean", ["pixel_values", "sides"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
    ]
    shape = ["b", 3, PIXELS, PIXELS]
    inputs = [helper.make_tensor_value_info("pixel_values", TensorProto.FLOAT, shape)]
    return _model(nodes, inputs, {"weights": weights, "sides": np.array([2, 3])})


def _model(nodes: list[Any], inputs: list[Any], initializers: dict[str, Any]) -> onnx.ModelProto:
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", len(LABELS)])
    tensors = [numpy_helper.from_array(array, name) for name, array in initializers.items()]
    graph = helper.make_graph(nodes, "tiny", inputs, [output], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
