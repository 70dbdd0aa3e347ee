"""Two tiny real cascades: their recipes, and where they are kept once they were built.

They are built once for all pytest processes and kept in build/tests, under a digest of all that goes into them. Each
process works on a copy of its own.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from optimize.versions import versions
from tests.commands import ROOT, optimize
from tests.tiny_recipes import RECIPES, messages, vocabulary

KEPT = ROOT / "build" / "tests"
KEPT_AT_MOST = 3
# All that a build imports, or is made of.
SOURCES = ("optimize/**/*.py", "optimize/**/*.html", "serving/model/*.py", "serving/cascade/deferral.py")
SOURCES += ("serving/errors.py", "serving/arrays.py", "tests/tiny*.py", "tests/commands.py")


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
    packages = (*versions().values(), importlib.metadata.version("bentoml"))
    for part in (sys.version, *packages, *processor(), os.environ.get("OMP_NUM_THREADS", "")):
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
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True)
    words = vocabulary(600)
    (folder.parent / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    BertTokenizerFast(vocab_file=str(folder.parent / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.1,  # at the default, layers as narrow as these pass nothing on
    )
    BertForSequenceClassification(config).save_pretrained(folder)
