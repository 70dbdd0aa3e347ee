from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.build import Build
from optimize.errors import CheckpointError
from optimize.models.checkpoint import FolderCheckpoint, fetch_model
from optimize.models.saved import load_model
from tests.optimize.conftest import torch_logits


def fetch(config: Any, labels: tuple[str, ...], root: Path = Path(), fresh_head: bool = False) -> Any:
    return fetch_model(config, "text", labels, root, fresh_head=fresh_head)[0]


def test_a_folder_that_was_trained_on_these_labels(text_build: Build) -> None:
    labels = text_build.splits.labels
    folder = text_build.teacher.path
    model = fetch(FolderCheckpoint(source="folder", path=folder.name), labels, folder.parent)
    inputs = text_build.preparer.collate(text_build.prepared("train").items[:4])
    expected = torch_logits(load_model(folder, "text"), inputs)
    np.testing.assert_array_equal(torch_logits(model.eval(), inputs), expected)

    shuffled = (labels[2], labels[0], labels[1], *labels[3:])
    other = fetch(FolderCheckpoint(source="folder", path=folder), shuffled).eval()
    np.testing.assert_array_equal(torch_logits(other, inputs), expected[:, [2, 0, 1, 3, 4, 5]])
    assert other.config.id2label[0] == labels[2]


def test_a_head_with_other_names_is_taken_only_when_told_that_the_order_is_the_same(text_build: Build) -> None:
    names = tuple(f"label {index}" for index in range(len(text_build.splits.labels)))
    folder = text_build.teacher.path
    with pytest.raises(CheckpointError, match="trust_label_order"):
        fetch(FolderCheckpoint(source="folder", path=folder), names)
    trusted = fetch(FolderCheckpoint(source="folder", path=folder, trust_label_order=True), names)
    assert tuple(trusted.config.id2label.values()) == names


def test_a_head_that_nobody_trained_is_refused(tiny_bert: Path) -> None:
    config = FolderCheckpoint(source="folder", path=tiny_bert)
    with pytest.raises(CheckpointError, match=r'no trained head for 3 labels .*step = "fine-tune"'):
        fetch(config, ("a", "b", "c"))
    assert fetch(config, ("a", "b", "c"), fresh_head=True).config.num_labels == 3
