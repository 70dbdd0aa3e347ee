"""A tiny text artifact made by hand: each word of the vocabulary adds its own numbers to the logits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from serving.model.artifact import MANIFEST, Artifact, Manifest, TextSettings, Variant, sha256_of
from serving.model.golden import GOLDEN, Golden
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session

LABELS = ("a", "b", "c")
WORDS = ("[PAD]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(40)))
GRAPH, TOKENIZER, MAX_TOKENS = "cpu-fp32/model.onnx", "tokenizer.json", 8
TEXTS = ["w1", "w2 w3 w4", "w5 w6 w7 w8 w9 w10", "w30"]
LONG = " ".join(WORDS[3:33])


def save_sum(path: Path) -> Path:
    """A graph from input_ids and attention_mask [rows, tokens] to logits [rows, 3]: the sum over the tokens' rows."""
    table = np.random.default_rng(0).normal(size=(len(WORDS), len(LABELS))).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["wide"]),
        helper.make_node("Mul", ["rows", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "middle"], ["logits"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "sum",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["rows", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", len(LABELS)])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "middle"),
        ],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def save_tokenizer(path: Path) -> Path:
    """A tokeniser of whole words, with [CLS] before and [SEP] behind a text."""
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[PAD]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(path))
    return path


def make_text_artifact(folder: Path, *, alone: bool = False, **settings: Any) -> Artifact:
    """An expert for texts whose one variant computes `save_sum`, with golden items."""
    files = {path: sha256_of(save(folder / path)) for path, save in ((GRAPH, save_sum), (TOKENIZER, save_tokenizer))}
    variant = Variant(
        file=GRAPH,
        precision="fp32",
        provider="CPUExecutionProvider",
        sha256=files[GRAPH],
        size_bytes=(folder / GRAPH).stat().st_size,
        alone=alone,
    )
    stated = {"max_tokens": MAX_TOKENS, "pad_token_id": 0, "inputs": ("input_ids", "attention_mask"), **settings}
    manifest = Manifest(
        name=folder.name,
        role="expert",
        labels=LABELS,
        settings=TextSettings(**stated),
        variants={"cpu-fp32": variant},
        default_cpu="cpu-fp32",
        files=files,
        seed=0,
    )
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    artifact = Artifact.open(folder)
    items = [preprocessor(artifact).item(text)[0] for text in TEXTS]
    logits = Runner(Session(artifact), preprocessor(artifact)).run(items)
    Golden(items=items, logits={"cpu-fp32": logits}).save(folder)
    whole = manifest.model_copy(update={"files": {**files, GOLDEN: sha256_of(folder / GOLDEN)}})
    (folder / MANIFEST).write_text(whole.model_dump_json())
    return Artifact.open(folder)
