from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

from optimize.build import Build
from optimize.errors import CheckpointError
from optimize.models.checkpoint import FolderCheckpoint, fetch_model
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.heads import HeadRules, head_of, label_maps, order_of, with_head
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
    with pytest.raises(CheckpointError, match=r'has a head for 2 labels .*the data has 3 .*step = "fine-tune"'):
        fetch(config, ("a", "b", "c"))
    assert fetch(config, ("a", "b", "c"), fresh_head=True).config.num_labels == 3


COLOURS = ("red", "green", "blue")


def bert(folder: Path, names: tuple[str, ...] | None = COLOURS, **config: Any) -> Path:
    """A BERT of width 8 with random weights; None leaves transformers' own names LABEL_0, LABEL_1, LABEL_2."""
    torch.manual_seed(1)
    shape = {"vocab_size": 20, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    named = {"num_labels": 3} if names is None else label_maps(names)
    BertForSequenceClassification(BertConfig(**shape, intermediate_size=8, **named, **config)).save_pretrained(folder)
    return folder


def weight(model: Any) -> Any:
    return model.classifier.weight.detach().numpy()


def headed(folder: Path, labels: tuple[str, ...], **rules: bool) -> Any:
    return with_head(folder, "text", labels, HeadRules(**rules))


@pytest.mark.parametrize(
    ("theirs", "labels", "rules", "order"),
    [
        (COLOURS, ("blue", "red", "green"), {}, [2, 0, 1]),
        (COLOURS, ("Blue", "red", "green"), {}, [2, 0, 1]),
        (("Sci/Tech", "WORLD_news", "sport"), ("sport", "world-news", "sci/tech"), {}, [2, 1, 0]),
        (("0", "1", "2"), ("2", "0", "1"), {}, [2, 0, 1]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("2", "0", "1"), {}, [2, 0, 1]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("2", "0", "1"), {"labels_given": True}, [0, 1, 2]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), COLOURS, {"labels_given": True}, [0, 1, 2]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), COLOURS, {"trust_order": True}, [0, 1, 2]),
        (("LABEL_0", "LABEL_1", "LABEL_2"), ("1", "2", "3"), {}, None),
        (("LABEL_0", "LABEL_1", "LABEL_2"), COLOURS, {}, None),
        (COLOURS, ("rot", "gruen", "blau"), {"labels_given": True}, None),
        (COLOURS, ("rot", "gruen", "blau"), {"trust_order": True}, [0, 1, 2]),
        (COLOURS, ("blue", "red", "green"), {"trust_order": True}, [2, 0, 1]),
        (COLOURS, ("blue", "red", "green"), {"trust_order": True, "labels_given": True}, [0, 1, 2]),
    ],
)
def test_the_order_of_a_head(
    theirs: tuple[str, ...], labels: tuple[str, ...], rules: dict[str, bool], order: list[int] | None
) -> None:
    assert order_of(theirs, labels, HeadRules(**rules)) == order


@pytest.mark.parametrize("fresh", [False, True])
def test_a_head_is_put_into_the_order_of_the_labels_also_where_it_is_trained_further(
    tmp_path: Path, fresh: bool
) -> None:
    folder = bert(tmp_path / "bert")
    before = weight(headed(folder, COLOURS))
    model = headed(folder, ("blue", "red", "green"), fresh=fresh)
    np.testing.assert_array_equal(weight(model), before[[2, 0, 1]])
    assert model.config.id2label == {0: "blue", 1: "red", 2: "green"}


def test_a_head_that_is_trained_further_is_kept_where_it_has_the_size(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    before = weight(headed(folder, COLOURS))
    np.testing.assert_array_equal(weight(headed(folder, ("cat", "dog", "cow"), fresh=True)), before)
    assert weight(headed(folder, ("cat", "dog"), fresh=True)).shape == (2, 8)


def test_a_head_that_only_numbers_its_labels_asks_for_a_list(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert", names=None)
    says = (
        r"only numbers its labels \(LABEL_0, LABEL_1, LABEL_2\), .* labels = \[\.\.\.\] in \[data\].* a wrong order is"
    )
    with pytest.raises(CheckpointError, match=says):
        headed(folder, COLOURS)
    assert headed(folder, COLOURS, labels_given=True).config.id2label[0] == "red"


def test_a_head_of_another_size_says_both_sizes(tmp_path: Path) -> None:
    many = tuple(f"colour {index}" for index in range(300))
    with pytest.raises(CheckpointError, match=r"a head for 3 labels \(red, .* the data has 300 \(.* and 294 more\)"):
        headed(bert(tmp_path / "bert"), many)


@pytest.mark.parametrize("config", [{"names": ("score",)}, {"problem_type": "regression"}])
def test_a_head_for_regression_is_refused_unless_it_is_trained_anew(tmp_path: Path, config: Any) -> None:
    folder = bert(tmp_path / "bert", **config)
    with pytest.raises(CheckpointError, match=r"a head for regression \(a number, no label\), .* step = .fine-tune"):
        headed(folder, COLOURS)
    model = headed(folder, COLOURS, fresh=True)
    assert (model.config.num_labels, model.config.problem_type) == (3, "single_label_classification")


SMALL = {"vocab_size": 20, "hidden_size": 3, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
DISTIL = {"vocab_size": 20, "dim": 3, "n_layers": 1, "n_heads": 1, "hidden_dim": 4}


@pytest.mark.parametrize(
    ("model", "name"),
    [
        # As wide as there are labels, so that other layers have as many outputs as the head.
        (BertForSequenceClassification(BertConfig(**SMALL, num_labels=3)), "classifier"),
        (DistilBertForSequenceClassification(DistilBertConfig(**DISTIL, num_labels=3)), "classifier"),
        (RobertaForSequenceClassification(RobertaConfig(**SMALL, num_labels=3)), "classifier.out_proj"),
        (ElectraForSequenceClassification(ElectraConfig(**SMALL, num_labels=3)), "classifier.out_proj"),
        (
            ResNetForImageClassification(
                ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1], layer_type="basic", num_labels=3)
            ),
            "classifier.1",
        ),
        (CifarResNet(CifarResNetConfig(depths=(1, 1, 1), widths=(4, 4, 4), num_labels=3)), "linear"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_where_the_head_is(model: Any, name: str) -> None:
    assert head_of(model) is model.get_submodule(name)


def test_a_head_without_a_bias_is_put_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = bert(tmp_path / "bert")
    before = weight(headed(folder, COLOURS))
    plain = BertForSequenceClassification.__init__

    def without_bias(self: Any, config: Any) -> None:
        plain(self, config)
        self.classifier = torch.nn.Linear(config.hidden_size, config.num_labels, bias=False)

    monkeypatch.setattr(BertForSequenceClassification, "__init__", without_bias)
    model = headed(folder, ("blue", "red", "green"))
    assert model.classifier.bias is None
    np.testing.assert_array_equal(weight(model), before[[2, 0, 1]])


def test_a_model_without_a_linear_head_is_named() -> None:
    model = BertForSequenceClassification(BertConfig(**SMALL, num_labels=3))
    model.classifier = torch.nn.Identity()
    with pytest.raises(CheckpointError, match="a bert has no linear layer with 3 outputs behind its encoder"):
        head_of(model)
