from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optimize.data.inputs import Prepared, Preparer
from optimize.data.token_ids import TokenIds
from optimize.models import training_state
from optimize.models.training import TrainingConfig, cross_entropy, train
from optimize.models.training_state import Place, TrainingState
from serving.model.artifact import TextSettings
from tests.encoders import tiny_encoder, tiny_tokeniser

CONFIG = TrainingConfig(epochs=2, learning_rate=1e-3, batch_size=16)
BATCHES = 6


@pytest.fixture
def preparer(tmp_path: Path) -> Preparer:
    tiny_tokeniser("wordpiece").save_pretrained(tmp_path / "tokeniser")
    settings = TextSettings(max_tokens=24, pad_token_id=0, inputs=("input_ids", "attention_mask"))
    return Preparer(settings, tmp_path / "tokeniser")


def trained(preparer: Preparer, resume: Path | None = None, stop_after: int = 0) -> dict[str, Any]:
    """Weights of a training with dropout, whose random numbers are a part of its state; it stops after some batches."""
    size = CONFIG.batch_size * BATCHES
    shapes = np.tile(np.array([[8, 1]], dtype=np.int32), (size, 1))
    ids = np.random.default_rng(0).integers(5, 40, size * 8)
    data = Prepared("train", TokenIds(ids, shapes), np.arange(size) % 3, tuple(map(str, range(size))))
    seen: list[int] = []

    def loss(output: Any, targets: Any, indices: Any, view: int) -> Any:
        if stop_after and len(seen) == stop_after:
            raise KeyboardInterrupt
        seen.append(len(indices))
        return cross_entropy(output, targets, indices, view)

    model = tiny_encoder("bert", num_hidden_layers=1, hidden_dropout_prob=0.3)
    return train(model, data, preparer, CONFIG, loss=loss, seed=1, title="test", resume=resume).state_dict()


@pytest.mark.parametrize("stop_after", [1, 4, BATCHES, BATCHES + 2])
def test_a_training_that_was_stopped_within_an_epoch_comes_to_the_same_weights(
    preparer: Preparer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    monkeypatch.setattr(training_state, "KEPT_EVERY_S", 0.0)
    resume = tmp_path / "training.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(preparer, resume, stop_after)
    stored = torch.load(resume, weights_only=True)
    assert (stored["epoch"], stored["batch"]) == divmod(stop_after, BATCHES)
    one, other = trained(preparer, resume), trained(preparer)
    assert all(torch.equal(one[name], other[name]) for name in other)
    assert not resume.exists(), "nothing is left of it at the end"


def test_a_state_is_kept_after_some_time_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [0.0]
    monkeypatch.setattr(training_state.time, "monotonic", lambda: now_s[0])
    state = TrainingState(tmp_path / "training.pt", {})
    assert state.restore() == Place()
    state.keep_now_and_then(Place(0, 1))
    assert not (tmp_path / "training.pt").exists()
    now_s[0] = training_state.KEPT_EVERY_S
    state.keep_now_and_then(Place(0, 2))
    state.keep_now_and_then(Place(0, 3))
    assert TrainingState(tmp_path / "training.pt", {}).restore() == Place(0, 2)
