"""Messages with no, one or several matters, and a recipe for a tiny cascade that gives label sets."""

from __future__ import annotations

import csv
import random
from pathlib import Path

from tests.tiny_recipes import GATES

PHRASES = {
    "card-declined": ("my card was refused", "the card does not work", "the terminal turned the card down"),
    "charged-twice": ("it was booked two times", "i paid once and it shows up again", "the same amount stands double"),
    "fee-question": ("how much does it cost", "what is the charge on my account", "do i pay extra"),
    "refund-missing": ("the refund is not there", "still waiting for the money back", "nobody has given it back"),
}
SMALL_TALK = ("hello", "thank you", "is somebody there", "good day")
SEPARATOR = "|"

RECIPE = f"""
name = "tiny-sets"
task = "text"
seed = 3

[checkpoint]
source = "folder"
path = "tiny-bert"

[data]
source = "files"
train = "messages.csv"
problem = "multi-label"
calibration_size = 8

[text]
max_tokens = 48

[[teacher]]
step = "fine-tune"
epochs = 8
learning_rate = 3e-3

[[expert]]
step = "export"

[[screen]]
step = "distill"
layers = [0]
epochs = 3
learning_rate = 3e-3
control = false

[[screen]]
step = "export"

[[screen]]
step = "quantize"

{GATES}
[operating_point]
alpha = 0.1
"""


def messages_of_sets(count: int, seed: int) -> list[tuple[str, tuple[str, ...]]]:
    """(text, labels) pairs: none to three matters a message, in any order."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        matters = rng.sample(sorted(PHRASES), rng.choice((0, 1, 1, 1, 2, 2, 3)))
        parts = [rng.choice(PHRASES[matter]) for matter in matters] or [rng.choice(SMALL_TALK)]
        words = f"{' and '.join(parts)} {rng.choice(SMALL_TALK)} {rng.randint(1, 99)}".split()
        words.pop(rng.randrange(len(words)))
        rows.append((" ".join(words), tuple(sorted(matters))))
    return rows


def write_sets(path: Path, rows: list[tuple[str, tuple[str, ...]]]) -> Path:
    """Write texts with their label sets as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *((text, SEPARATOR.join(labels)) for text, labels in rows)])
    return path
