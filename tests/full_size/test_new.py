"""What `new` writes for checkpoints as large as those that people bring runs unedited.

Random weights know nothing, and a student would not learn it from a few rows. So each head tells apart what the layers
say of the rows, and what a student lacks adds nothing: the student starts where its teacher is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig

from optimize.start.choosing import student_depths, student_layers
from tests.conftest import ROOT
from tests.encoders import ENCODERS, LABELS, tiny_tokeniser
from tests.optimize.knowing import followed
from tests.optimize.models.resnets import expected_logits, resnet_state
from tests.optimize.start.brought import images, rows, write_csv

pytestmark = [pytest.mark.full_size, pytest.mark.timeout(3600)]
ROWS = 900
"""A third of which is kept: those that a teacher is surest of."""
RESNET18: dict[str, Any] = {"depths": (2, 2, 2, 2), "width": 64}
# Of torchvision's published settings.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.parametrize(
    ("kind", "shape", "megabytes"),
    [
        ("bert", {"vocab_size": 30_522}, 430),
        ("xlm-roberta", {"vocab_size": 250_002, "max_position_embeddings": 514, "type_vocab_size": 1}, 1100),
    ],
    ids=["BERT-base", "XLM-R-base"],
)
def test_an_encoder(kind: str, shape: dict[str, Any], megabytes: int, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    tokeniser = tiny_tokeniser(ENCODERS[kind][0])
    tokeniser.save_pretrained(folder)
    config = AutoConfig.for_model(kind, **shape, pad_token_id=tokeniser.pad_token_id, num_labels=len(LABELS))
    config.update({"id2label": dict(enumerate(LABELS)), "label2id": {label: i for i, label in enumerate(LABELS)}})
    layers = student_layers(config)
    assert layers is not None
    known = followed(folder, config, layers, [text for text, _ in rows(ROWS)], spread=0.02)
    data = write_csv(tmp_path / "mine.csv", ("text", "label"), [(text, LABELS[answer]) for text, answer in known])
    summary = run(data, folder, tmp_path)
    assert (folder / "model.safetensors").stat().st_size > megabytes * 1e6
    assert summary["models"]["teacher"]["accuracy"] == 1.0
    assert summary["models"]["cascade"]["accuracy"] > 0.9


def test_a_state_dict_of_resnet_18(tmp_path: Path) -> None:
    data = images("folder", tmp_path, 120)
    state = resnet_state(**RESNET18)
    depths = student_depths(RESNET18["depths"])
    assert depths is not None
    for name, values in state.items():
        # The scale and the shift of a norm: half of the channels of each layer say nothing.
        if values.ndim == 1 and name.endswith((".weight", ".bias")) and not name.startswith("fc."):
            group, block = (int(name[5]), int(name[7])) if name.startswith("layer") else (0, 0)
            adds_nothing = group and block >= depths[group - 1] and ".bn2." in name
            values[0 if adds_nothing else len(values) // 2 :] = 0
    tell_apart(state, data)
    torch.save(state, tmp_path / "resnet18.pth")
    summary = run(data, tmp_path / "resnet18.pth", tmp_path)
    assert summary["models"]["teacher"]["accuracy"] == 1.0
    assert summary["models"]["cascade"]["accuracy"] > 0.9


def tell_apart(state: dict[str, torch.Tensor], data: Path) -> None:
    """Give a state dict the head that says which label's mean of the states an image is nearest to.

    The logits of the mean of two labels differ by 10 at least: a student learns from no logits of thousands.
    """
    width = state["fc.weight"].shape[1]
    whole = {**state, "fc.weight": torch.eye(width), "fc.bias": torch.zeros(width)}
    labels = sorted(folder for folder in data.iterdir() if folder.is_dir())
    means = torch.stack([expected_logits(whole, pixels_of(folder)).mean(0) for folder in labels])
    middle, scale = means.mean(0), 20 / float(torch.pdist(means).min()) ** 2
    state["fc.weight"] = scale * (means - middle)
    state["fc.bias"] = -scale * ((means - middle) * (means + middle)).sum(1) / 2


def pixels_of(folder: Path) -> torch.Tensor:
    """[8, 3, 224, 224], as torchvision prepares images."""
    opened = [Image.open(path).convert("RGB").resize((224, 224)) for path in sorted(folder.iterdir())[:8]]
    scaled = (np.stack([np.asarray(image) for image in opened]) / 255 - MEAN) / STD
    return torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32))


def run(data: Path, checkpoint: Path, folder: Path) -> dict[str, Any]:
    """Call `new` and `run` as a user does; what summary.json says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BENTOML_HOME": str(folder / "home")}
    recipe, build = folder / "mine.toml", folder / "build"
    for words in (
        ("new", "--checkpoint", checkpoint, "--data", data, "--name", "mine", "--out", recipe),
        ("run", recipe, "--build", build),
    ):
        subprocess.run([sys.executable, "-m", "optimize", *map(str, words)], env=environment, check=True)
    summary: dict[str, Any] = json.loads((build / "summary.json").read_text())
    return summary
