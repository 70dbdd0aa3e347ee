"""Shared by all tests: where the real data lies, and tiny real models that the pipeline itself builds."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.server import TINY, Server, serve

# Two test processes with two threads each would fight over two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

ROOT = Path(__file__).parent.parent

TEXT_RECIPE = """
name = "tiny-text"
task = "text"
description = "a tiny BERT on generated messages"
seed = 3

[checkpoint]
source = "folder"
path = "tiny-bert"

[data]
source = "files"
train = "messages.csv"
calibration_size = 8

[text]
max_tokens = 48

[[teacher]]
step = "fine-tune"
epochs = 8
learning_rate = 1e-3

[[expert]]
step = "export"

[[expert]]
step = "quantize"

[[screen]]
step = "distill"
layers = [0, 3]
epochs = 3
learning_rate = 1e-3

[[screen]]
step = "prune"
heads_share = 0.5
feed_forward_share = 0.5
epochs = 2
learning_rate = 1e-3

[[screen]]
step = "export"

[[screen]]
step = "quantize"

[gates]
max_accuracy_drop = 1.0
min_speedup = 0.0

[quality.expert]
max_accuracy_drop = 0.1
max_macro_f1_drop = 0.1
max_recall_drop = 1.0

[quality.screen]
max_accuracy_drop = 1.0
max_macro_f1_drop = 1.0
max_recall_drop = 1.0

[quality.cascade]
max_accuracy_drop = 0.1
max_macro_f1_drop = 0.1
max_recall_drop = 1.0

[operating_point]
alpha = 0.05
"""

IMAGE_RECIPE = """
name = "tiny-image"
task = "image"
description = "a tiny ResNet on digits"
seed = 3

[checkpoint]
source = "fresh-cifar-resnet"
depths = [2, 2, 2]
widths = [8, 8, 16]
num_channels = 1
image_size = 8

[data]
source = "digits"
limit = 900
calibration_size = 64

[image]
width = 8
height = 8
mode = "L"
mean = [0.306]
std = [0.376]

[[teacher]]
step = "fine-tune"
epochs = 6
learning_rate = 5e-3

[[expert]]
step = "export"

[[screen]]
step = "distill"
depths = [1, 1, 1]
epochs = 2
learning_rate = 3e-3
crop = 1
views = 2

[[screen]]
step = "prune"
channels_share = 0.5
channels_multiple = 4
epochs = 4
learning_rate = 2e-3

[[screen]]
step = "export"

[[screen]]
step = "quantize"
tolerable_loss = 0.5

[gates]
max_accuracy_drop = 1.0
min_speedup = 0.0

[quality.screen]
max_accuracy_drop = 1.0
max_macro_f1_drop = 1.0
max_recall_drop = 1.0

[quality.cascade]
max_accuracy_drop = 0.1
max_macro_f1_drop = 0.1
max_recall_drop = 1.0

[operating_point]
alpha = 0.05
"""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with text/, image/ and weights/ beside the checkout; skips where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside this checkout (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a BERT of 4 layers and width 32, random weights, and a WordPiece vocabulary of its own."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    from optimize.data.payments import generate

    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    words = BertWordPieceTokenizer()
    words.train_from_iterator([text for text, _ in generate(600, seed=1)], vocab_size=600, show_progress=False)
    words.save_model(str(folder.parent))
    BertTokenizerFast(vocab_file=str(folder.parent / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=words.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,  # at the default, layers as narrow as these pass nothing on
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_recipes(tiny_bert: Path) -> dict[str, Path]:
    """Recipe files of the two tiny cascades; their relative paths start at the files' folder."""
    with (tiny_bert.parent / "messages.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *messages(900, seed=5)])
    paths = {}
    for name, text in (("tiny-text", TEXT_RECIPE), ("tiny-image", IMAGE_RECIPE)):
        paths[name] = tiny_bert.parent / f"{name}.toml"
        paths[name].write_text(text)
    return paths


def messages(count: int, seed: int) -> list[tuple[str, str]]:
    """(text, label) pairs with one open matter each: a tiny BERT learns them, and its student misses some."""
    from optimize.data.payments import OPEN

    rng = random.Random(seed)
    slots = {"shop": ["Nordmarkt", "BlueRail", "the vet"], "person": ["Jonas", "Priya"], "when": ["today", "on Monday"]}
    rows = []
    for number in range(count):
        label = list(OPEN)[number % len(OPEN)]
        filled = {name: rng.choice(values) for name, values in slots.items()}
        words = rng.choice(OPEN[label]).format(amount=f"{rng.randint(1, 999)} euros", **filled).split()
        # Taking two words out makes hundreds of different messages of three dozen sentences.
        for _ in range(2):
            words.pop(rng.randrange(len(words)))
        rows.append((" ".join(words), label))
    return rows


def optimize(
    *arguments: object, home: Path | None = None, folder: Path | None = None, check: bool = True, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m optimize` as a user does, in a process of its own; `variables` go into its environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    if home is not None:
        environment["BENTOML_HOME"] = str(home)
    command = [sys.executable, "-m", "optimize", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=600, check=False
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def interruptible() -> None:
    """For a process that a test will interrupt: background jobs of a shell are deaf to SIGINT, and hand it on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class TinyCascades:
    """The two tiny cascades: their build folders and the BentoML home that they are published in."""

    def __init__(self, home: Path, builds: dict[str, Path]) -> None:
        self.home, self.builds = home, builds

    def artifact(self, name: str, role: str) -> Path:
        return self.builds[name] / f"{name}-{role}"


@pytest.fixture(scope="session")
def tiny_cascades(tiny_recipes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> TinyCascades:
    """Both tiny recipes, carried out and published by the command line."""
    home = tmp_path_factory.mktemp("bentoml")
    builds = {}
    for name, recipe in tiny_recipes.items():
        builds[name] = tmp_path_factory.mktemp("build") / name
        optimize("run", recipe, "--root", recipe.parent, "--build", builds[name], home=home)
    return TinyCascades(home, builds)


@pytest.fixture(scope="session")
def server(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both tiny cascades, served from the checkout."""
    log = tmp_path_factory.mktemp("serve") / "log"
    with serve(*TINY, home=tiny_cascades.home, folder=ROOT, log=log) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened
