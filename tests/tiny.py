"""Two tiny real cascades: their recipes, and where they are kept once they were built.

They are built once for all pytest processes and kept in build/tests, under a digest of all that goes into them. Each
process works on a copy of its own.
"""

from __future__ import annotations

import csv
import hashlib
import os
import platform
import random
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from tests.commands import ROOT, optimize

KEPT = ROOT / "build" / "tests"
KEPT_AT_MOST = 3
# All that a build imports, or is made of.
SOURCES = ("optimize/**/*.py", "optimize/**/*.html", "serving/model/*.py", "serving/cascade/*.py", "serving/*.py")
SOURCES += ("tests/tiny.py", "tests/commands.py", "pyproject.toml", "constraints.txt")

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

RECIPES = {"tiny-text": TEXT_RECIPE, "tiny-image": IMAGE_RECIPE}


@dataclass(frozen=True)
class TinyCascades:
    """The two tiny cascades, below one folder.

    Attributes:
        folder: holds the recipes, and all that their relative paths name.
    """

    folder: Path

    @property
    def home(self) -> Path:
        """The BentoML home that both are published in."""
        return self.folder / "home"

    @property
    def bert(self) -> Path:
        return self.folder / "tiny-bert"

    @property
    def recipes(self) -> dict[str, Path]:
        return {name: self.folder / f"{name}.toml" for name in RECIPES}

    @property
    def builds(self) -> dict[str, Path]:
        return {name: self.folder / "build" / name for name in RECIPES}

    def artifact(self, name: str, role: str) -> Path:
        return self.builds[name] / f"{name}-{role}"


def copy_of_cascades(folder: Path, kept: Path = KEPT) -> TinyCascades:
    """Copy both cascades into `folder`, which must not exist; build them where nobody has yet.

    A lock makes other processes wait meanwhile. The oldest builds in `kept` are removed.
    """
    kept.mkdir(parents=True, exist_ok=True)
    whole = kept / digest_of_sources()
    with FileLock(kept / ".lock"):
        if not whole.exists():
            partial = kept / "partial"  # of a process that was killed, say
            shutil.rmtree(partial, ignore_errors=True)
            build(TinyCascades(partial))
            partial.rename(whole)
        os.utime(whole)
        others = sorted((path for path in kept.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for path in others[:-KEPT_AT_MOST]:
            shutil.rmtree(path)
        shutil.copytree(whole, folder, symlinks=True)
    return TinyCascades(folder)


def digest_of_sources() -> str:
    """A name for what the cascades are made of: sources, pinned packages, Python, the processor."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in SOURCES for path in ROOT.glob(pattern)}):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes() + b"\0")
    for part in (sys.version, *processor(), os.environ.get("OMP_NUM_THREADS", "")):
        digest.update(f"{part}\0".encode())
    return digest.hexdigest()[:16]


def processor() -> Iterator[str]:
    """The processor's name and what it can do, where Linux tells it: graphs and figures depend on it."""
    yield platform.machine()
    path = Path("/proc/cpuinfo")
    if path.exists():
        lines = dict(line.split("\t", 1) for line in path.read_text().splitlines() if "\t" in line)
        yield from (lines.get(name, "") for name in ("model name", "flags", "Features"))


def build(cascades: TinyCascades) -> None:
    """Carry out both recipes by the command line, and publish what they make."""
    make_bert(cascades.bert)
    with (cascades.folder / "messages.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *messages(900, seed=5)])
    for name, text in RECIPES.items():
        recipe, folder = cascades.recipes[name], cascades.builds[name]
        recipe.write_text(text)
        optimize("run", recipe, "--root", cascades.folder, "--build", folder, home=cascades.home)


def make_bert(folder: Path) -> None:
    """Write a BERT of 4 layers and width 32 with random weights, and a WordPiece vocabulary of its own."""
    import torch
    from tokenizers import BertWordPieceTokenizer
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    from optimize.data.payments import generate

    folder.mkdir(parents=True)
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
