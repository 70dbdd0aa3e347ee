"""What the two tiny cascades are made of: recipes, messages, a vocabulary."""

from __future__ import annotations

import random
import re
from collections import Counter

# What a tiny student need not reach, and what the cascade must.
GATES = """[gates]
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
"""

TEXT_RECIPE = f"""
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
epochs = 16
learning_rate = 1e-3

[[expert]]
step = "export"

# One way only: which of two is faster would be another one in each run.
[[expert]]
step = "quantize"
ways = ["dynamic"]

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

{GATES}
[quality.expert]
max_accuracy_drop = 0.1
max_macro_f1_drop = 0.1
max_recall_drop = 1.0

[operating_point]
alpha = 0.05
"""

IMAGE_RECIPE = f"""
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

{GATES}
[operating_point]
alpha = 0.05
"""

RECIPES = {"tiny-text": TEXT_RECIPE, "tiny-image": IMAGE_RECIPE}


def vocabulary(size: int) -> list[str]:
    """Special tokens, characters alone and inside a word, and the words that come most often.

    The trainer of `tokenizers` makes another vocabulary in each process, and so another model.
    """
    from optimize.data.payments import generate

    counts = Counter(word for text, _ in generate(600, seed=1) for word in re.findall(r"\w+|[^\w\s]", text.lower()))
    characters = sorted({character for word in counts for character in word})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *(f"##{each}" for each in characters)]
    often = sorted((word for word in counts if len(word) > 1), key=lambda word: (-counts[word], word))
    return (tokens + often)[:size]


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
