"""examples/own-resnet: a ResNet from a folder and a folder of images become a cascade that answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import ResNetConfig, ResNetForImageClassification

from tests.commands import ROOT, needs_curl, optimize
from tests.examples.following import EXAMPLES, ask, lines
from tests.server import serve

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
IMAGES_EACH = 120


@needs_curl
def test_a_resnet_and_a_folder_of_images_become_a_cascade_that_answers(tmp_path: Path) -> None:
    folder, home = tmp_path / "own-resnet", tmp_path / "home"
    shutil.copytree(EXAMPLES / "own-resnet", folder)
    save_tiny_resnet(folder / "my-resnet")
    draw_photos(folder / "photos")
    make_quick(folder / "my-photos.toml")
    (run,) = lines("own-resnet", "python -m optimize")
    said = optimize(*run, home=home, folder=folder).stdout
    for role in ("expert", "screen", "operating-point"):
        assert f"published my-photos-{role}:" in said
    assert (folder / "build" / "my-photos" / "report.html").is_file()
    shutil.copy(folder / "photos" / "red" / "0.png", folder / "photo.png")
    Image.open(folder / "photo.png").save(folder / "photo.jpg")
    (arguments,), (curl,) = lines("own-resnet", "bentoml serve"), lines("own-resnet", "curl")
    with serve(*arguments, home=home, folder=ROOT, log=tmp_path / "log") as server:
        answer = ask(curl, server.url, folder)
        assert answer["models"]["screen"].startswith("my-photos-screen:")
        assert set(answer["scores"]) == set(COLOURS)


def make_quick(recipe: Path) -> None:
    """Images of 32 pixels in the place of 224: a fiftieth of the work."""
    text = recipe.read_text(encoding="utf-8")
    small = text.replace("= 224", "= 32").replace("resize_short_side = 256", "resize_short_side = 36")
    assert small.count("= 32\n") == 2
    recipe.write_text(small, encoding="utf-8")


def save_tiny_resnet(folder: Path) -> None:
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=16, hidden_sizes=[16, 16, 32, 32], depths=[2, 2, 2, 2], layer_type="basic", num_labels=3
    )
    ResNetForImageClassification(config).save_pretrained(folder)


def draw_photos(folder: Path) -> None:
    """Noise around one colour a label."""
    rng = np.random.default_rng(0)
    for label, colour in COLOURS.items():
        (folder / label).mkdir(parents=True)
        for number in range(IMAGES_EACH):
            pixels = np.clip(np.array(colour) + rng.normal(0, 30, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{number}.png")
