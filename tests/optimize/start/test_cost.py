from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from optimize.start.cost import StepTime, Trained, about, minutes, timed

SIZES = {"train": 1000, "calibration": 100, "selection": 100, "certification": 100, "holdout": 100}


def test_a_step_is_timed_and_leaves_the_model_as_it_was() -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    model = BertForSequenceClassification(BertConfig(vocab_size=50, **shape)).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    step = timed(model, {"input_ids": torch.randint(50, (4, 8))})
    assert 0 < step.answer_s < step.learn_s
    assert not model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_minutes_grow_with_epochs_and_rows() -> None:
    step = StepTime(answer_s=0.01, learn_s=0.05)
    one, two = (minutes(step, SIZES, [Trained(epochs, 0.025)]) for epochs in (1, 2))
    assert two - one == pytest.approx(0.5 * 1000 * 0.05 / 60)
    assert minutes(step, SIZES | {"train": 2000}, [Trained(1, 0.025)]) > one


@pytest.mark.parametrize(
    ("value", "words"),
    [(0.4, "less than a minute"), (1.2, "about 1 minute"), (17.3, "about 17 minutes"), (300, "about 5 hours")],
)
def test_minutes_in_words(value: float, words: str) -> None:
    assert about(value) == words
