"""A teacher without a training: a tiny BERT, and texts that are labelled by its own answers."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from optimize.models.heads import label_maps
from tests.tiny import make_bert
from tests.tiny_recipes import messages

LABELS = ("bill", "card", "loan")


def knowing_bert(folder: Path, names: tuple[str, ...] = LABELS, *, rows: int = 300) -> list[tuple[str, str]]:
    """Write a BERT with random weights, whose head calls its outputs `names`; return texts with its answers.

    The answers are called by LABELS, whatever the head calls them. Labels come about equally often.
    """
    make_bert(folder)
    texts = [text for text, _ in messages(rows, seed=5)]
    model = BertForSequenceClassification.from_pretrained(folder, **label_maps(names), ignore_mismatched_sizes=True)
    answers = give_opinions(model, folder, texts)
    return [(text, LABELS[answer]) for text, answer in zip(texts, answers, strict=True)]


def give_opinions(model: Any, folder: Path, texts: list[str]) -> list[int]:
    """Give a BERT with random weights a head that tells `texts` apart, save it in `folder`, and return its answers."""
    torch.manual_seed(0)
    model.eval()
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model.bert(**batch).pooler_output
        head = 10 * torch.randn(model.config.num_labels, states.shape[1])
        model.classifier.weight.copy_(head)
        model.classifier.bias.copy_(-head @ states.mean(0))
        answers: list[int] = model.classifier(states).argmax(1).tolist()
    model.save_pretrained(folder)
    return answers


def write_rows(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Write texts with their labels as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return path
