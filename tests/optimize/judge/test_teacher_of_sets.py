"""A teacher whose label sets are no better than one set for all is refused; one that knows them is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from optimize.build import Build
from optimize.errors import GateError
from optimize.judge.teacher import require_teacher
from optimize.recipe import Recipe
from tests.optimize.knowing import LABELS, knowing_bert
from tests.optimize.label_sets import write_sets


@torch.inference_mode()
def knowing_sets(folder: Path, rows: int = 160) -> list[tuple[str, tuple[str, ...]]]:
    """Write a BERT whose label sets are right for the texts that are returned with them."""
    texts = [text for text, _ in knowing_bert(folder, rows=rows)]
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    batch = AutoTokenizer.from_pretrained(folder)(texts, padding=True, return_tensors="pt")
    sets = model(**batch).logits.numpy() >= 0
    return [(text, tuple(np.array(LABELS)[row].tolist())) for text, row in zip(texts, sets, strict=True)]


def build_of(folder: Path, rows: list[tuple[str, tuple[str, ...]]], **data: Any) -> Build:
    write_sets(folder / "rows.csv", rows)
    source = {"source": "files", "train": "rows.csv", "problem": "multi-label", "calibration_size": 8, **data}
    recipe = {
        "name": "sets",
        "task": "text",
        "checkpoint": {"source": "folder", "path": folder / "bert"},
        "data": source,
        "text": {"max_tokens": 48},
        "expert": [{"step": "export"}],
        "screen": [{"step": "export"}],
    }
    return Build(Recipe.model_validate(recipe), root=folder, folder=folder / "build")


def test_a_teacher_that_knows_the_sets_is_taken(tmp_path: Path) -> None:
    rows = knowing_sets(tmp_path / "bert")
    assert {len(labels) for _, labels in rows} >= {0, 1, 2}
    require_teacher(build_of(tmp_path, rows))


def test_a_teacher_of_other_sets_is_refused(tmp_path: Path) -> None:
    rows = knowing_sets(tmp_path / "bert")
    others = [(text, labels) for (text, _), (_, labels) in zip(rows, rows[1:] + rows[:1], strict=True)]
    with pytest.raises(GateError, match=r"a micro F1 of .* near chance .* labels = \[\.\.\.\] in \[data\]"):
        require_teacher(build_of(tmp_path, others))


def test_a_teacher_may_label_the_rows_itself(tmp_path: Path) -> None:
    known = dict(knowing_sets(tmp_path / "bert"))
    splits = build_of(tmp_path, [(text, ()) for text in known], labels="teacher").splits
    assert splits.multi_label
    for split in splits.all:
        for text, target in zip(split.inputs, split.targets, strict=True):
            assert tuple(np.array(splits.labels)[target].tolist()) == known[text]
