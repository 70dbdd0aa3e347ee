"""Values of a recipe from what is known of data and checkpoint. Pure functions; each says why it chooses so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig

from optimize.errors import StepError
from optimize.models.graph_model import GraphModel
from optimize.start.facts import OUT_OF_BALANCE, Lengths
from optimize.steps.union import step_classes

MOST_TOKENS = 512
LEAST_TOKENS = 16
TOKENS_SHARE = 0.99
"""The share of texts that `max_tokens` reads as a whole."""
# Rows that a training sees, in all of its epochs together, unless the bounds of the epochs say otherwise.
SEEN = {"fine-tune": 15_000, "distill": 30_000, "prune": 20_000}
SEEN_IMAGES = {"fine-tune": 6_000, "distill": 10_000, "prune": 10_000}
EPOCHS = {"fine-tune": (1, 20), "distill": (2, 20), "prune": (1, 12)}
# AdamW at MiniLM's width; wider models take smaller steps.
RATE, RATE_WIDTH = 5e-5, 384
RATE_OF_IMAGES = 0.01
SHORT = {"epochs": 1, "learning_rate": RATE}
"""Any training, to ask whether a step could be carried out."""
NARROWEST_TO_PRUNE = 64
"""A ResNet whose groups have fewer channels wins next to nothing: a layer then costs mostly its call."""


@dataclass(frozen=True, slots=True)
class Training:
    """Length and pace of a training."""

    epochs: int
    learning_rate: float


def max_tokens(lengths: Lengths, positions: int) -> int:
    """A multiple of 16 that reads 99 % of the texts as a whole, as far as the model's positions go."""
    wanted = max(math.ceil(lengths.quantile(TOKENS_SHARE) / 16) * 16, LEAST_TOKENS)
    return min(wanted, positions, MOST_TOKENS)


def training(step: str, rows: int, *, width: int | None) -> Training:
    """Epochs by the number of rows, and the learning rate by the width of a text encoder (None: a ResNet)."""
    seen = (SEEN if width else SEEN_IMAGES)[step]
    least, most = EPOCHS[step]
    epochs = min(max(math.ceil(seen / rows), least), most)
    if width is None:
        return Training(epochs, RATE_OF_IMAGES)
    # A student's layers must learn more than a teacher's, which were trained before.
    rate = RATE * RATE_WIDTH / width * (1 if step == "fine-tune" else 2)
    return Training(epochs, float(f"{min(rate, 1e-3):.0e}"))


def student_layers(teacher: PretrainedConfig) -> tuple[int, ...] | None:
    """A quarter of the teacher's layers, at least two, from the first to the last; None where none can be chosen."""
    count = int(teacher.num_hidden_layers)
    if count < 3:
        return None
    kept = max(count // 4, 2)
    spread = tuple(round(place * (count - 1) / (kept - 1)) for place in range(kept))
    # ModernBERT's layers look at a window or at the whole text in turn, so not all choices fit their places.
    every = int(getattr(teacher, "global_attn_every_n_layers", 1))
    return next((layers for layers in (spread, tuple(range(0, count, every))) if _fits(teacher, layers)), None)


def _fits(teacher: PretrainedConfig, layers: tuple[int, ...]) -> bool:
    return len(layers) < teacher.num_hidden_layers and can(teacher, "distill", layers=layers, **SHORT)


def can(model: PretrainedConfig | GraphModel, step: str, **fields: Any) -> bool:
    """Whether a step with these fields can be carried out on a model of this architecture, or on a ready graph."""
    wanted = step_classes(of_teacher=False)[step].model_validate({"step": step, **fields})
    try:
        if isinstance(model, GraphModel):
            wanted.require_graph(model)
        else:
            wanted.require_fitting(model)
    except StepError:
        return False
    return True


def student_depths(depths: Sequence[int]) -> tuple[int, ...] | None:
    """Half of the blocks of each group; None where each has one already."""
    half = tuple(max(math.ceil(depth / 2), 1) for depth in depths)
    return half if half != tuple(depths) else None


def pruning(teacher: PretrainedConfig) -> dict[str, float]:
    """The shares to prune from a student of this teacher; empty where pruning is not worth its training."""
    if hasattr(teacher, "depths"):
        widths = getattr(teacher, "hidden_sizes", None) or getattr(teacher, "widths", None) or [0]
        return {"channels_share": 0.5} if min(widths) >= NARROWEST_TO_PRUNE else {}
    shares = {"heads_share": 0.5, "feed_forward_share": 0.5}
    tried: tuple[dict[str, float], ...] = (shares, {"feed_forward_share": 0.5}, {"heads_share": 0.5})
    return next((asked for asked in tried if can(teacher, "prune", **asked, **SHORT)), {})


def balances(counts: Sequence[int]) -> bool:
    """Whether rows of rare labels should count more in the teacher's training."""
    return max(counts) >= OUT_OF_BALANCE * min(counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What may be lost; None leaves a default. The shares are those of one or two items where a set is small."""

    of_variants: float | None
    tolerable_loss: float | None
    expert: dict[str, float]
    cascade: dict[str, float]


def gates(sizes: dict[str, int], rarest: int, labels: int, alpha: float, *, agreement: bool) -> Gates:
    """Gates that two items of luck do not decide.

    `rarest` is the share of the holdout's items with the rarest label, as a number of items; `agreement` says that
    quality is agreement with the teacher, which starts at 100 %.
    """
    holdout, selection = sizes["holdout"], sizes["selection"]
    two = 2 / holdout
    f1 = two + 1 / (max(rarest, 1) * labels)
    recall = 2 / max(rarest, 30)
    slack = 0.02 if agreement else 0.0
    return Gates(
        of_variants=_above(0.005, 2 / selection),
        tolerable_loss=_above(0.005, 2 / selection),
        expert=_quality(max(0.01, two) + slack, max(0.03, f1) + slack, max(0.05, recall) + slack),
        # A cascade may differ from the expert where its promise allows it.
        cascade=_quality(max(0.01, alpha + two), max(0.03, alpha + f1), max(0.05, alpha + recall)),
    )


def _quality(accuracy: float, f1: float, recall: float) -> dict[str, float]:
    chosen = {"max_accuracy_drop": (accuracy, 0.01), "max_macro_f1_drop": (f1, 0.03), "max_recall_drop": (recall, 0.05)}
    return {name: rounded_up(value) for name, (value, default) in chosen.items() if value > default}


def _above(default: float, value: float) -> float | None:
    return rounded_up(value) if value > default else None


def rounded_up(share: float) -> float:
    """A share in thousandths, or in hundredths from 5 % on, at most 1."""
    unit = 1000 if share < 0.05 else 100
    return min(math.ceil(share * unit - 1e-9) / unit, 1.0)


def image_side(sizes: Sequence[int]) -> int:
    """The side that images are resized to where the checkpoint does not say: their median, as a multiple of 8."""
    middle = sorted(sizes)[len(sizes) // 2]
    return int(min(max(round(middle / 8) * 8, 8), 224))
