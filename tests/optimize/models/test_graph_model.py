"""A graph in the place of a model: the same call, and items alone where a graph takes ranges from its batch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from optimize.models.graph_model import config_with, graph_in, recorded_precision
from optimize.models.saved import load_model, save_model
from optimize.steps.quantize import quantize_dynamic
from tests.encoders import tiny_batch
from tests.optimize.models.onnx_files import ORDER, gap, take, text_folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint folder of a ready graph in dynamic INT8, with its labels in another order."""
    brought = text_folder(tmp_path_factory.mktemp("graph") / "brought")
    quantize_dynamic(brought / "model.onnx", brought / "int8.onnx")
    (brought / "int8.onnx").replace(brought / "model.onnx")
    return save_model(take(brought, ORDER), brought.parent / "saved", brought)


def test_what_is_saved_is_loaded(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, "text")
    assert graph_in(folder) == folder / "model.onnx"
    assert recorded_precision(folder) == model.precision == "int8"
    assert tuple(model.config.id2label.values()) == ORDER
    assert model.config.num_hidden_layers == 4, "the architecture is known"
    assert gap(model) < 0.1
    assert model(**one(0)).hidden_states == ()
    assert graph_in(tmp_path) is None
    assert recorded_precision(tmp_path) == "fp32"


def one(place: int) -> dict[str, torch.Tensor]:
    """One item of the tiny batch, without padding."""
    batch = tiny_batch("bert")
    length = int(batch["attention_mask"][place].sum())
    arrays = {name: torch.from_numpy(array[place : place + 1, :length]) for name, array in batch.items()}
    return arrays | {"token_type_ids": torch.zeros_like(arrays["input_ids"])}


def test_an_item_in_company_gets_what_it_gets_alone(folder: Path) -> None:
    model = load_model(folder, "text")
    batch = {name: torch.from_numpy(array) for name, array in tiny_batch("bert").items()}
    together = model(**batch, token_type_ids=torch.zeros_like(batch["input_ids"])).logits.numpy()
    alone = np.concatenate([model(**one(place)).logits.numpy() for place in range(3)])
    np.testing.assert_array_equal(together, alone)


def test_of_an_architecture_that_is_none_of_ours_labels_and_problem_are_kept() -> None:
    config = config_with({"model_type": "mystery", "id2label": {"0": "a", "1": "b"}, "hidden_size": 8})
    assert config.id2label == {0: "a", 1: "b"}
    assert not hasattr(config, "hidden_size")
