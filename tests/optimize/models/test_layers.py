from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optimize.errors import StepError
from optimize.models.attention_heads import cut_heads
from optimize.models.families import FAMILIES, known, layers_of
from optimize.models.layers import feed_forward_of, freeze, keep_units, with_layers
from optimize.models.saved import load_model, save_model
from tests.encoders import ENCODERS, tiny_batch, tiny_encoder
from tests.optimize.conftest import torch_logits

CONVOLVED = {"conv_kernel_size": 3, "conv_act": "gelu"}  # as in DeBERTa-v2-xlarge
OF_THEIR_OWN = [kind for kind in ENCODERS if not FAMILIES[kind].shared_layers]


@pytest.mark.parametrize("kind", OF_THEIR_OWN)
def test_a_student_has_the_layers_that_were_chosen(kind: str, tmp_path: Path) -> None:
    teacher, layers = tiny_encoder(kind), (0, 2) if kind == "modernbert" else (1, 3)
    student = with_layers(teacher, layers)
    for mine, layer in zip(layers_of(student), layers, strict=True):
        theirs = layers_of(teacher)[layer].state_dict()
        for name, value in mine.state_dict().items():
            torch.testing.assert_close(value, theirs[name], rtol=0, atol=0, msg=name)
    again, batch = load_model(save_model(student, tmp_path / "student"), "text"), tiny_batch(kind)
    np.testing.assert_array_equal(torch_logits(again, batch), torch_logits(student, batch))
    assert len(layers_of(teacher)) == 4, "the teacher is left as it was"


@pytest.mark.parametrize("kind", ["bert", "deberta-v2"])
def test_a_student_of_a_teacher_with_pruned_heads(kind: str, tmp_path: Path) -> None:
    """The config names pruned heads by the place of their layer, which is another in the student."""
    teacher, batch = tiny_encoder(kind), tiny_batch(kind)
    cut_heads(teacher, {0: [], 1: [0], 2: [], 3: [1, 2]})
    student = with_layers(teacher, (3, 1))
    again = load_model(save_model(student, tmp_path / "student"), "text")
    np.testing.assert_array_equal(torch_logits(again, batch), torch_logits(student, batch))


@pytest.mark.parametrize("kind", ENCODERS)
def test_without_units_a_model_answers_as_if_they_said_nothing(kind: str, tmp_path: Path) -> None:
    silent, cut, batch = tiny_encoder(kind), tiny_encoder(kind), tiny_batch(kind)
    whole, kept = torch_logits(cut, batch), torch.arange(0, 64, 2)
    for model in (silent, cut):
        for layer in layers_of(model):
            for first, second in feed_forward_of(model, layer):
                if model is cut:
                    keep_units(model, first, second, kept)
                else:
                    second.weight.data[:, 1::2] = 0
    setattr(cut.config, known(cut).feed_forward_width, len(kept))
    wanted = torch_logits(silent, batch)
    np.testing.assert_allclose(torch_logits(cut, batch), wanted, atol=1e-5)
    assert np.abs(wanted - whole).max() > 1e-4
    again = load_model(save_model(cut, tmp_path / "cut"), "text")
    np.testing.assert_array_equal(torch_logits(again, batch), torch_logits(cut, batch))


@pytest.mark.parametrize(("kind", "shape"), [*((kind, {}) for kind in OF_THEIR_OWN), ("deberta-v2", CONVOLVED)])
def test_frozen_layers_take_no_backward_pass(kind: str, shape: Any) -> None:
    model = tiny_encoder(kind, **shape)
    freeze(model, 2)
    output = model(**{name: torch.from_numpy(a) for name, a in tiny_batch(kind).items()}, output_hidden_states=True)
    assert [state.requires_grad for state in output.hidden_states] == [False] * 3 + [True] * 2
    output.logits.sum().backward()
    trained = [[p.grad is not None for p in layer.parameters()] for layer in layers_of(model)]
    assert [any(layer) for layer in trained] == [False, False, True, True]
    with pytest.raises(StepError, match="number of the text encoder's layers, got 5 for a model with 4"):
        freeze(model, 5)
