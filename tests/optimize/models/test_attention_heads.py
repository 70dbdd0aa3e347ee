from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optimize.models.attention_heads import attention_output, cut_heads, head_size
from optimize.models.families import FAMILIES, layers_of
from optimize.models.saved import load_model, save_model
from tests.encoders import ENCODERS, tiny_batch, tiny_encoder
from tests.optimize.conftest import torch_logits


def heads_of(model: Any) -> list[int]:
    return [attention_output(model, layer).in_features // head_size(model.config) for layer in layers_of(model)]


OF_DEBERTA_V2 = {"share_att_key": False, "conv_kernel_size": 3, "conv_act": "gelu"}


@pytest.mark.parametrize(("kind", "shape"), [*((kind, {}) for kind in ENCODERS), ("deberta-v2", OF_DEBERTA_V2)])
def test_without_a_head_a_model_answers_as_if_it_said_nothing(kind: str, shape: Any, tmp_path: Path) -> None:
    silent, cut, batch = tiny_encoder(kind, **shape), tiny_encoder(kind, **shape), tiny_batch(kind)
    whole, gone = torch_logits(cut, batch), {place: [] for place in range(len(layers_of(cut)))} | {0: [1, 2]}
    size = head_size(silent.config)
    with torch.no_grad():
        attention_output(silent, layers_of(silent)[0]).weight[:, size : 3 * size] = 0
    cut_heads(cut, gone)
    assert heads_of(cut) == [2, *[4] * (len(gone) - 1)]
    wanted = torch_logits(silent, batch)
    np.testing.assert_allclose(torch_logits(cut, batch), wanted, atol=1e-5)
    assert np.abs(wanted - whole).max() > 1e-4

    again = load_model(save_model(cut, tmp_path / "cut"), "text")
    np.testing.assert_array_equal(torch_logits(again, batch), torch_logits(cut, batch))
    assert getattr(cut.config, "pruned", False) == (FAMILIES[kind].heads_by_hand is not None)


def test_a_model_that_was_cut_is_cut_again() -> None:
    for kind in ("bert", "deberta-v2", "modernbert"):
        model = tiny_encoder(kind)
        cut_heads(model, {place: [0] for place in range(4)})
        before = torch_logits(model, tiny_batch(kind))
        cut_heads(model, {0: [], 1: [], 2: [], 3: []})
        np.testing.assert_array_equal(torch_logits(model, tiny_batch(kind)), before)
        assert heads_of(model) == [3] * 4
