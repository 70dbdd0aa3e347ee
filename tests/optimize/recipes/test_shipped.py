"""The two recipes from the hub on tiny local folders of the same architectures; and at full size (slow).

A hub cannot be reached from a test, so the checkpoint lies in a hub cache of the test's own, under the revision that
the recipe pins, and is found there by the code that would download it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from optimize.data.inputs import Preparer, decoded
from optimize.recipe import read_recipe
from optimize.recipes.shipped import shipped_recipes
from optimize.steps.distill import Distill
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact
from serving.model.image import ImageDecoder
from serving.model.open_session import open_session
from tests.conftest import messages, optimize
from tests.optimize.conftest import tiny_resnet50, torch_logits
from tests.optimize.knowing import EASY_GATES, followed


def in_hub_cache(cache: Path, recipe: str) -> Path:
    checkpoint = read_recipe(recipe).checkpoint
    return cache / f"models--{checkpoint.id.replace('/', '--')}" / "snapshots" / checkpoint.revision


def run_offline(recipe: str, folder: Path, gates: str = "") -> None:
    path = folder / f"{recipe}.toml"
    path.write_text(f"{shipped_recipes()[recipe].read_text()}\n{gates}")
    offline = {"HF_HUB_CACHE": str(folder / "hub"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home")}
    optimize("run", path, "--root", folder, "--build", folder / "build", home=folder / "bentoml", fresh=True, **offline)


def check(recipe: str, folder: Path) -> dict[str, Any]:
    screen, expert = (Artifact.open(folder / "build" / f"{recipe}-{role}") for role in ("screen", "expert"))
    OperatingPoint.read(folder / "build" / f"{recipe}-operating-point").require_pair(screen.digest, expert.digest)
    assert len(list((folder / "bentoml" / "models").glob(f"{recipe}-*/*/model.yaml"))) == 3
    summary: dict[str, Any] = json.loads((folder / "build" / "summary.json").read_text())
    assert any("fp16 is for a GPU" in reason for v in summary["verdicts"] for reason in v["reasons"])
    return summary


def test_sst2_bert_base(tiny_bert: Path, tmp_path: Path) -> None:
    from transformers import BertConfig

    folder = in_hub_cache(tmp_path / "hub", "sst2-bert-base")
    shutil.copytree(tiny_bert, folder)
    config = BertConfig.from_pretrained(folder)
    config.update({"num_hidden_layers": 12, "max_position_embeddings": 128})
    (distill,) = (step for step in read_recipe("sst2-bert-base").screen if isinstance(step, Distill))
    texts = [text for text, label in messages(1080, seed=2) if label in ("card-declined", "fee-question")]
    rows = followed(folder, config, distill.layers or (), texts)
    import pandas

    table = pandas.DataFrame(rows, columns=["sentence", "label"])
    data = tmp_path / "stanfordnlp" / "sst2"
    data.mkdir(parents=True)
    table[:90].to_parquet(data / "train-00000-of-00001.parquet")
    table[90:].to_parquet(data / "validation-00000-of-00001.parquet")
    run_offline("sst2-bert-base", tmp_path, EASY_GATES)
    summary = check("sst2-bert-base", tmp_path)
    assert summary["data"]["source"] == "stanfordnlp/sst2"
    (folder,) = (tmp_path / "build" / "screen").glob("prune-*")
    student = json.loads((folder / "config.json").read_text())
    assert student["num_hidden_layers"] == 4


def knows_colours(model: Any, colours: list[tuple[int, int, int]]) -> Any:
    """Give a ResNet a head that tells even images of these colours apart, by the nearest of their states.

    Blocks after the first of a group add nothing, so that a student without them starts where the teacher is.
    """
    for stage in model.resnet.encoder.stages:
        for block in stage.layers[1:]:
            torch.nn.init.zeros_(block.layer[-1].normalization.weight)
    image = read_recipe("imagenet-resnet50").image
    assert image is not None
    pixels = [np.full((image.height, image.width, 3), colour, dtype=np.uint8) for colour in colours]
    prepared = Preparer(image).tensors([decoded(each, ImageDecoder(image)) for each in pixels])
    with torch.inference_mode():
        states = model.resnet(**prepared).pooler_output.flatten(1)
        model.classifier[1].weight.copy_(states)
        model.classifier[1].bias.copy_(-states.square().sum(1) / 2)
    return model


def test_imagenet_resnet50(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    colours = {"n01": (200, 40, 40), "n02": (40, 200, 40), "n03": (40, 40, 200)}
    for part, count in (("train", 12), ("val", 8)):
        for label, colour in colours.items():
            (tmp_path / part / label).mkdir(parents=True)
            for index in range(count):
                noise = rng.integers(-40, 41, (120, 160, 3))
                image = Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8))
                image.save(tmp_path / part / label / f"{index}.jpeg")
    model = knows_colours(tiny_resnet50(), list(colours.values()))
    model.save_pretrained(in_hub_cache(tmp_path / "hub", "imagenet-resnet50"))
    run_offline("imagenet-resnet50", tmp_path)
    summary = check("imagenet-resnet50", tmp_path)
    assert summary["data"]["labels"] == ["n01", "n02", "n03"]
    sizes = {row["name"]: row["size_bytes"] for row in summary["steps"]}
    assert sizes["screen/prune"] < 0.8 * sizes["screen/distill"] < 0.8 * sizes["teacher/checkpoint"]


def parity(path: Path, model: Any, inputs: dict[str, np.ndarray], bound: float) -> None:
    """`bound`: the largest difference of a logit, as a share of the largest logit."""
    got = open_session(path, "CPUExecutionProvider", threads=2).run(["logits"], inputs)[0]
    want = torch_logits(model, inputs)
    assert np.abs(got - want).max() <= bound * np.abs(want).max()


@pytest.mark.slow
def test_bert_base_at_full_size_exports_fuses_quantizes_and_keeps_parity(tmp_path: Path) -> None:
    from transformers import BertConfig, BertForSequenceClassification

    from optimize.steps.export import Export, export
    from optimize.steps.fuse import Fuse, fuse
    from optimize.steps.quantize import quantize_dynamic

    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(num_labels=2)).eval()
    plain = export(model, Export(), tmp_path / "plain.onnx")
    int8 = quantize_dynamic(plain, tmp_path / "int8.onnx")
    half = fuse(plain, model.config, Fuse(precision="fp16"), tmp_path / "half.onnx")
    rng = np.random.default_rng(0)
    for batch, tokens in ((1, 16), (4, 128)):
        ids = rng.integers(1000, 30000, (batch, tokens))
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        parity(plain, model, inputs, 1e-4)
        parity(half, model, inputs, 0.02)
        parity(int8, model, inputs, 0.25)
    assert plain.stat().st_size > 430e6
    assert int8.stat().st_size < 0.26 * plain.stat().st_size
    assert half.stat().st_size < 0.51 * plain.stat().st_size


@pytest.mark.slow
def test_resnet_50_at_full_size_exports_quantizes_and_keeps_parity(tmp_path: Path) -> None:
    from transformers import ResNetConfig, ResNetForImageClassification

    from optimize.steps.export import Export, export
    from optimize.steps.fuse import Fuse, fuse
    from optimize.steps.quantize import Quantize, quantize_static

    torch.manual_seed(0)
    model = ResNetForImageClassification(ResNetConfig(num_labels=1000))
    model.train()
    with torch.no_grad():
        for _ in range(12):  # batch norm's running statistics, so that activations stay in range
            model(torch.randn(4, 3, 224, 224))
    model.eval()
    plain = export(model, Export(), tmp_path / "plain.onnx")
    half = fuse(plain, model.config, Fuse(precision="fp16"), tmp_path / "half.onnx")
    rng = np.random.default_rng(0)
    batches = [rng.normal(size=(8, 3, 224, 224)).astype(np.float32) for _ in range(2)]
    int8 = quantize_static(model, Quantize(), tmp_path / "int8.onnx", calibration=batches, accuracy=lambda _: 1.0)
    for batch in (1, 4):
        inputs = {"pixel_values": rng.normal(size=(batch, 3, 224, 224)).astype(np.float32)}
        parity(plain, model, inputs, 1e-3)
        parity(half, model, inputs, 0.02)
        parity(int8, model, inputs, 0.3)
    assert plain.stat().st_size > 100e6
    assert int8.stat().st_size < 0.27 * plain.stat().st_size
    kinds = {tensor.data_type for tensor in onnx.load(int8).graph.initializer if len(tensor.dims) > 1}
    assert onnx.TensorProto.FLOAT not in kinds, "no weight is left in float"
