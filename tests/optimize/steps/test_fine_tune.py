from __future__ import annotations

from pathlib import Path

import pytest
import torch

from optimize.build import Build
from optimize.errors import StepError
from optimize.models.saved import load_model
from optimize.models.training import predict
from optimize.steps.fine_tune import FineTune, fine_tune
from tests.optimize.conftest import result


def test_the_teacher_is_better_than_the_checkpoint_it_came_from(build: Build) -> None:
    holdout = build.preparer.prepare(build.splits.holdout)
    before, after = (
        (
            predict(load_model(folder, build.recipe.task), holdout, build.preparer).argmax(axis=1) == holdout.targets
        ).mean()
        for folder in (build.folder / "checkpoint", result(build, "teacher/fine-tune").path)
    )
    assert after > before + 0.3


def test_embeddings_stay_when_they_are_not_trained(text_build: Build, tmp_path: Path) -> None:
    model = load_model(text_build.folder / "checkpoint", "text")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = FineTune(epochs=1, learning_rate=1e-3, train_embeddings=False)
    data, preparer = text_build.prepared("train"), text_build.preparer
    trained = fine_tune(model, config, data=data, preparer=preparer, seed=1, resume=tmp_path / "resume.pt")
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    assert "classifier.weight" in changed
    assert "bert.embeddings.word_embeddings.weight" not in changed
    assert all(parameter.requires_grad for parameter in trained.parameters()), "only while it was training"


def test_frozen_layers_and_the_embeddings_below_them_stay(text_build: Build, tmp_path: Path) -> None:
    model = load_model(text_build.folder / "checkpoint", "text")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = FineTune(epochs=1, learning_rate=1e-3, frozen_layers=1)
    data, preparer = text_build.prepared("train"), text_build.preparer
    trained = fine_tune(model, config, data=data, preparer=preparer, seed=1, resume=tmp_path / "resume.pt")
    changed = {name for name, value in trained.state_dict().items() if not torch.equal(value, before[name])}
    assert "classifier.weight" in changed
    assert any(name.startswith("bert.encoder.layer.1.") for name in changed)
    assert not any(name.startswith(("bert.embeddings.", "bert.encoder.layer.0.")) for name in changed)
    assert all(parameter.requires_grad for parameter in trained.parameters()), "only while it was training"


def test_more_frozen_layers_than_there_are_is_an_error(build: Build, tmp_path: Path) -> None:
    model = load_model(build.folder / "checkpoint", build.recipe.task)
    config = FineTune(epochs=1, learning_rate=1e-3, frozen_layers=99)
    with pytest.raises(StepError, match="number of the text encoder's layers, got 99"):
        fine_tune(
            model, config, data=build.prepared("train"), preparer=build.preparer, seed=1, resume=tmp_path / "resume.pt"
        )
