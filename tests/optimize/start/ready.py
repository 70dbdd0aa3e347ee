"""Ready ONNX files that know the labels of data: graphs with random weights, and rows with their answers."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from optimize.models.saved import load_model
from optimize.steps.export import Export, export
from tests.encoders import LABELS
from tests.optimize.knowing import knowing_bert, write_rows
from tests.optimize.models.onnx_files import CONFIG, PREPROCESSOR, tiny_resnet


def text_graph(folder: Path, rows: int = 300) -> tuple[Path, Path]:
    """A table, and a folder with a graph that knows its labels, config.json and a tokeniser."""
    data = write_rows(folder / "rows.csv", knowing_bert(folder / "bert", rows=rows))
    shutil.copytree(folder / "bert", folder / "graph")
    (folder / "graph" / "model.safetensors").unlink()
    export(load_model(folder / "bert", "text"), Export(), folder / "graph" / "model.onnx")
    return data, folder / "graph"


def image_graph(folder: Path, count: int = 150) -> tuple[Path, Path]:
    """A folder of images by label, and the file of a graph that knows them, with its settings beside it."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)
    pixels[::2, :, :8] //= 4  # some are dark on one side
    inputs = torch.from_numpy(((pixels / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2))
    model = copy.deepcopy(tiny_resnet())
    with torch.inference_mode():
        model.linear.weight *= 100  # clear answers
        model.linear.bias -= model(pixel_values=inputs).logits.mean(0)  # each label comes about equally often
        answers = model(pixel_values=inputs).logits.argmax(1).tolist()
    for number, answer in enumerate(answers):
        path = folder / "photos" / LABELS[answer] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number]).save(path)
    (folder / "graph").mkdir()
    export(model, Export(), folder / "graph" / "resnet.onnx")
    (folder / "graph" / "config.json").write_text(json.dumps(CONFIG))
    (folder / "graph" / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR))
    return folder / "photos", folder / "graph" / "resnet.onnx"
