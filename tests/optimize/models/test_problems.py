"""A checkpoint whose head was made for another problem than the data's is refused, or trained anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import BertConfig, BertForSequenceClassification

from optimize.errors import CheckpointError
from optimize.models.heads import HeadRules, label_maps, with_head

LABELS = ("fee", "fraud", "refund")


def checkpoint(folder: Path, problem_type: str | None) -> Path:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = BertConfig(vocab_size=20, **shape, **label_maps(LABELS), problem_type=problem_type)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def problem_of(folder: Path, *, multi_label: bool, fresh: bool = False) -> str | None:
    found: str | None = with_head(
        folder, "text", LABELS, HeadRules(multi_label=multi_label, fresh=fresh)
    ).config.problem_type
    return found


def test_a_multi_label_head_is_taken_for_label_sets_and_refused_for_one_label(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "multi_label_classification")
    assert problem_of(folder, multi_label=True) == "multi_label_classification"
    with pytest.raises(CheckpointError, match=r'every label that fits .*; set problem = "multi-label" in \[data\]'):
        problem_of(folder, multi_label=False)


def test_a_head_for_one_label_is_refused_for_label_sets(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, "single_label_classification")
    assert problem_of(folder, multi_label=False) == "single_label_classification"
    with pytest.raises(CheckpointError, match=r"exactly one label .*; leave that out for rows with one label each"):
        problem_of(folder, multi_label=True)


def test_a_head_that_does_not_say_is_for_what_the_data_has(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, None)
    assert problem_of(folder, multi_label=True) == "multi_label_classification"
    assert problem_of(folder, multi_label=False) is None


@pytest.mark.parametrize("multi_label", [True, False])
def test_a_head_that_is_trained_anew_is_for_what_the_data_has(tmp_path: Path, multi_label: bool) -> None:
    theirs = "single_label_classification" if multi_label else "multi_label_classification"
    got = problem_of(checkpoint(tmp_path, theirs), multi_label=multi_label, fresh=True)
    assert got == ("multi_label_classification" if multi_label else "single_label_classification")
