"""A cascade of full-size image models with random weights, in a model store of its own, for measuring speed alone.

The expert is a ResNet-50 of 224 x 224 pixels, the screen the same with one block in each of its four groups. Both are
INT8, as the recipes make them. Photographs set the statistics of the batch normalisations and the ranges of the
quantizer, so activations are those of real images; what the models answer means nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from benchmarks.homes import make_home
from optimize.models.calibration import IMAGES, calibrated, pre_processed
from optimize.models.graphs import quiet
from optimize.models.saved import save_model
from optimize.steps.distill import Distill, make_student
from optimize.steps.export import Export, export
from serving.arrays import Array
from serving.model.artifact import MANIFEST, OPERATING_POINT, Artifact, ImageSettings, sha256_of, write_json
from serving.model.golden import GOLDEN
from serving.model.head import head_of
from serving.model.image import ImageDecoder
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session

VARIANT = "cpu-int8"
SEED = 19
SETTLING = 32
"""So many photographs set statistics and ranges; more change them little and take minutes."""


class Size(NamedTuple):
    """How large the models are: pixels of a side, and the blocks and widths of a ResNet's groups."""

    pixels: int
    short_side: int
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    embedding: int


RESNET_50 = Size(224, 256, (3, 4, 6, 3), (256, 512, 1024, 2048), 64)


class Made(NamedTuple):
    """A BentoML home with the cascade, and the expert as PyTorch has it, in a folder of transformers'."""

    home: Path
    teacher: Path


def make_full_size(
    folder: Path, store: Path, cascade: str, photographs: Sequence[bytes], share: float, size: Size
) -> Made:
    """Make the cascade in `folder`: a copy of the image cascade `cascade` of `store` with other models.

    Of the photographs, this share escalates.
    """
    home = make_home(folder / "home", store, cascade, threshold=None)
    roles = {role: _latest(home, f"{cascade}-{role}") for role in ("screen", "expert", "operating-point")}
    settings = ImageSettings(
        width=size.pixels,
        height=size.pixels,
        resize_short_side=size.short_side,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    items = [ImageDecoder(settings).decode(data) for data in photographs]
    labels = len(json.loads((roles["expert"] / MANIFEST).read_text())["labels"])
    some = items[:SETTLING]
    expert = _resnet(size, labels, some)
    screen = make_student(expert, Distill(depths=(1,) * len(size.depths), epochs=1, learning_rate=1e-3))
    _settle(screen, some)
    for role, model in (("screen", screen), ("expert", expert)):
        _replace(roles[role], model, settings, some)
    teacher = folder / "teacher"
    save_model(expert, teacher)
    _set_threshold(roles, items, share)
    return Made(home, teacher)


def _latest(home: Path, name: str) -> Path:
    folder = home / "models" / name
    return folder / (folder / "latest").read_text().strip()


def _resnet(size: Size, labels: int, items: Sequence[Array]) -> Any:
    torch.manual_seed(SEED)
    config = ResNetConfig(  # type: ignore[no-untyped-call]  # transformers declares no types here
        depths=list(size.depths), hidden_sizes=list(size.widths), embedding_size=size.embedding, num_labels=labels
    )
    model = ResNetForImageClassification(config)  # type: ignore[no-untyped-call]  # nor here
    _settle(model, items)
    return model


def _settle(model: Any, items: Sequence[Array]) -> None:
    """Set the statistics of the batch normalisations to those of the items; else activations would grow a block."""
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    model.train()
    with torch.no_grad():
        for begin in range(0, len(items), 8):
            model(torch.from_numpy(np.stack(items[begin : begin + 8])))
    model.eval()


def _replace(folder: Path, model: Any, settings: ImageSettings, items: Sequence[Array]) -> None:
    """Put `model` in INT8 in the place of all variants of an artifact, and leave its golden items out."""
    (folder / VARIANT).mkdir(exist_ok=True)
    path, plain = folder / VARIANT / "model.onnx", folder / "plain.onnx"
    with quiet():
        export(model, Export(), plain)
        ready = pre_processed(plain, folder / "ready.onnx")
        calibrated(ready, path, "min-max", [{settings.input: item[None]} for item in items], IMAGES)
    for made in (plain, ready):
        made.unlink()
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    file = f"{VARIANT}/model.onnx"
    variant = {"file": file, "precision": "int8", "provider": "CPUExecutionProvider", "sha256": sha256_of(path)}
    files = {name: digest for name, digest in manifest["files"].items() if not name.endswith((".onnx", GOLDEN))}
    manifest |= {"default_cpu": VARIANT, "default_gpu": None, "settings": settings.model_dump(mode="json")}
    manifest |= {"variants": {VARIANT: {**variant, "size_bytes": path.stat().st_size}}}
    write_json(folder / MANIFEST, {**manifest, "files": {**files, file: variant["sha256"]}})


def _set_threshold(roles: dict[str, Path], items: Sequence[Array], share: float) -> None:
    """Write an operating point for the two models by which this share of the items escalates."""
    screen, expert = Artifact.open(roles["screen"]), Artifact.open(roles["expert"])
    path = roles["operating-point"] / OPERATING_POINT
    point: dict[str, Any] = json.loads(path.read_text())
    logits = Runner(Session(screen), preprocessor(screen)).run(items)
    answers = head_of(screen.manifest).answers(logits, screen.manifest.labels, point["screen_temperature"])
    threshold = float(np.quantile([answer.confidence for answer in answers], share))
    point |= {"threshold": threshold, "screen_variant": VARIANT, "expert_variant": VARIANT}
    write_json(path, point | {"screen_digest": screen.digest, "expert_digest": expert.digest})
