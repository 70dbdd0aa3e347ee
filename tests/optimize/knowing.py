"""A teacher without a training: an encoder, and texts that are labelled by its own answers."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertForSequenceClassification,
    PretrainedConfig,
)

from optimize.models.heads import label_maps
from tests.tiny import make_bert
from tests.tiny_recipes import messages

LABELS = ("bill", "card", "loan")
KNOWING_CASCADE = """
task = "text"
checkpoint = { source = "folder", path = "bert" }
text = { max_tokens = 48 }
expert = [{ step = "export" }]
screen = [{ step = "distill", layers = [0, 3], epochs = 1, learning_rate = 1e-3, control = false }, { step = "export" }]
"""
"""Lines of a recipe whose teacher is in the folder `bert`."""


def knowing_bert(folder: Path, names: tuple[str, ...] = LABELS, *, rows: int = 300) -> list[tuple[str, str]]:
    """Write a BERT with random weights, whose head calls its outputs `names`; return texts with its answers.

    The answers are called by LABELS, whatever the head calls them. Labels come about equally often.
    """
    make_bert(folder)
    texts = [text for text, _ in messages(rows, seed=5)]
    model = BertForSequenceClassification.from_pretrained(folder, **label_maps(names), ignore_mismatched_sizes=True)
    answers = give_opinions(model, folder, texts)
    return [(text, LABELS[answer]) for text, answer in zip(texts, answers, strict=True)]


def give_opinions(model: Any, folder: Path, texts: list[str], *, along_states: bool = False) -> list[int]:
    """Give an encoder with random weights a head that tells `texts` apart, save it in `folder`, return its answers.

    `along_states`: the head looks along the directions in which the texts' states differ most. In a wide encoder they
    are few, and INT8 moves all directions alike, so a head that looks anywhere sees little else.
    """
    torch.manual_seed(0)
    model.eval()
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    last = [module for module in model.modules() if isinstance(module, torch.nn.Linear)][-1]
    given: list[torch.Tensor] = []
    with torch.inference_mode(), last.register_forward_pre_hook(lambda _, taken: given.append(taken[0])):
        model(**batch)
        (states,) = given
        if along_states:
            head = torch.randn(model.config.num_labels, len(texts)) @ (states - states.mean(0))
            head *= 10 / head.std()
        else:
            head = 10 * torch.randn(model.config.num_labels, states.shape[1])
        last.weight.copy_(head)
        last.bias.copy_(-head @ states.mean(0))
        answers: list[int] = last(states).argmax(1).tolist()
    model.save_pretrained(folder)
    return answers


EASY_GATES = "[gates]\nmax_logit_gap_share = 1.0\nmin_agreement = 0.0\n" + "".join(
    f"[quality.{of}]\nmax_accuracy_drop = 1.0\nmax_macro_f1_drop = 1.0\nmax_recall_drop = 1.0\n"
    for of in ("expert", "screen", "cascade")
)
"""Gates for a recipe's last lines: what a tiny student learns in a few steps is not what such a test is about."""


def followed(
    folder: Path, config: PretrainedConfig, layers: Sequence[int], texts: Sequence[str], *, spread: float = 0.2
) -> list[tuple[str, int]]:
    """Write an encoder of BERT's shape with random weights whose student starts where it is.

    Returns the third of `texts` that it is surest of, with its answers.
    Nothing comes from what a student of these `layers` and half of their heads and feed-forward units lacks. Texts near
    a border would get another label in INT8. `folder` holds the tokeniser. `spread`: of the weights; at the default of
    transformers, layers narrower than BERT's pass next to nothing on.
    """
    config.update({"initializer_range": spread})
    torch.manual_seed(0)
    model: Any = AutoModelForSequenceClassification.from_config(config)
    for index, layer in enumerate(model.base_model.encoder.layer):
        for dense in (layer.attention.output.dense, layer.output.dense):
            kept = dense.in_features // 2 if index in layers else 0
            torch.nn.init.zeros_(dense.weight[:, kept:])
            torch.nn.init.zeros_(dense.bias)
    answers = give_opinions(model, folder, list(texts), along_states=True)
    with torch.inference_mode():
        batch = AutoTokenizer.from_pretrained(folder)(list(texts), padding=True, return_tensors="pt")
        first, second = model(**batch).logits.topk(2, dim=1).values.T
    sure = sorted((first - second).argsort(descending=True)[: len(texts) // 3].tolist())
    return [(texts[place], answers[place]) for place in sure]


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Write texts with their labels as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path
