"""Heads that know their labels: by name, under other names, in another order; and heads that know nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from optimize.errors import CheckpointError
from optimize.start.head import NEAR_CHANCE, NO_HEAD, head_for
from tests.encoders import LABELS, WORDS, tiny_encoder, tiny_tokeniser
from tests.optimize.start.brought import write_csv

STEPS = [{"step": "export"}]
SIGNS = ("pay", "win", "call")


def lines(count: int = 300) -> list[tuple[str, str]]:
    """Texts that each begin with the sign of their label."""
    rest = [word for word in WORDS.split() if word not in SIGNS]
    return [
        (" ".join([SIGNS[i % 3], *(rest[(i * k) % len(rest)] for k in (1, 3, 7, 11))]), LABELS[i % 3])
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tiny BERT that was trained on `lines` for some steps."""
    model, tokenizer = tiny_encoder("bert"), tiny_tokeniser("wordpiece")
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    texts, labels = zip(*lines(), strict=True)
    targets = torch.tensor([LABELS.index(label) for label in labels])
    for step in range(60):
        some = range(step * 30 % 300, step * 30 % 300 + 30)
        inputs = tokenizer([texts[i] for i in some], padding=True, return_tensors="pt")
        loss = torch.nn.functional.cross_entropy(model(**inputs).logits, targets[list(some)])
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    return model.eval()


def draft(model: Any, names: tuple[str, ...], folder: Path, **data: Any) -> dict[str, Any]:
    model.config.id2label = dict(enumerate(names))
    model.config.label2id = {name: place for place, name in enumerate(names)}
    model.save_pretrained(folder / "model")
    tiny_tokeniser("wordpiece").save_pretrained(folder / "model")
    write_csv(folder / "rows.csv", ("text", "label"), lines())
    return {
        "name": "x",
        "task": "text",
        "checkpoint": {"source": "folder", "path": str(folder / "model")},
        "data": {"source": "files", "train": str(folder / "rows.csv"), **data},
        "text": {"max_tokens": 16},
        "teacher": [{"step": "fine-tune", "epochs": 1, "learning_rate": 1e-5}],
        "expert": STEPS,
        "screen": STEPS,
    }


@pytest.mark.parametrize(
    ("names", "order", "trust"),
    [
        (("a", "b", "c"), None, False),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("a", "b", "c"), False),
        (("first", "second", "third"), ("a", "b", "c"), True),
    ],
)
def test_a_head_that_knows_the_labels(
    names: tuple[str, ...], order: tuple[str, ...] | None, trust: bool, knowing: Any, tmp_path: Path
) -> None:
    head = head_for(draft(knowing, names, tmp_path), tmp_path / "trial")
    assert (head.trained, head.labels, head.trust_order) == (True, order, trust)


def test_the_order_of_labels_without_names_is_found_by_answers(knowing: Any, tmp_path: Path) -> None:
    turned, order = copy.deepcopy(knowing), [2, 0, 1]
    turned.classifier.weight.data = turned.classifier.weight.data[order]
    turned.classifier.bias.data = turned.classifier.bias.data[order]
    head = head_for(draft(turned, ("LABEL_0", "LABEL_1", "LABEL_2"), tmp_path), tmp_path / "trial")
    assert (head.trained, head.labels, head.trust_order) == (True, ("c", "a", "b"), False)


def test_a_head_that_knows_nothing_is_trained(tmp_path: Path) -> None:
    model = tiny_encoder("bert")
    model.classifier.weight.data.zero_()  # one answer to everything
    head = head_for(draft(model, LABELS, tmp_path), tmp_path / "trial")
    assert (head.trained, head.reason) == (False, NEAR_CHANCE)


def test_a_head_for_other_labels_is_trained(tmp_path: Path) -> None:
    model = tiny_encoder("bert")
    model.classifier = torch.nn.Linear(32, 2)
    head = head_for(draft(model, ("x", "y"), tmp_path), tmp_path / "trial")
    assert (head.trained, head.reason) == (False, NO_HEAD)


def test_rows_without_labels_need_a_trained_head(tmp_path: Path) -> None:
    head = head_for(draft(tiny_encoder("bert"), LABELS, tmp_path, labels="teacher"), tmp_path / "trial")
    assert head.trained
    described = draft(tiny_encoder("bert").base_model, LABELS, tmp_path / "base", labels="teacher")
    with pytest.raises(CheckpointError, match="no trained head"):
        head_for(described, tmp_path / "other")
