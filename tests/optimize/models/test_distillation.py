from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from optimize.build import Build
from optimize.models.distillation import DistillationConfig, distillation_loss, divergence_of_labels
from optimize.models.saved import load_model
from optimize.models.teacher_outputs import TeacherOutputs, followed_layers


def test_a_students_loss_is_least_where_it_says_what_the_teacher_says(build: Build, tmp_path: Path) -> None:
    config = DistillationConfig(epochs=1, learning_rate=1e-3, soft_weight=1.0, hidden_weight=1.0)
    teacher = load_model(build.teacher.path, build.recipe.task)
    data, preparer = build.prepared("train"), build.preparer
    followed = followed_layers(teacher, teacher, preparer.tensors(data.take([0])))
    outputs = TeacherOutputs.compute(teacher, data, preparer, config, 1, tmp_path / "kept", followed)
    indices = np.arange(16)
    targets = torch.from_numpy(data.targets[indices])
    loss = distillation_loss(outputs, config)

    def of(model: Any) -> float:
        with torch.inference_mode():
            inputs = preparer.tensors([data.items[i] for i in indices])
            return float(loss(model(**inputs, output_hidden_states=True), targets, indices, 0))

    assert of(teacher) < 1e-4
    assert of(load_model(build.folder / "checkpoint", build.recipe.task)) > 0.05


def test_mixtures_have_no_labels_to_learn_from() -> None:
    with pytest.raises(ValidationError, match="mixup needs soft_weight = 1"):
        DistillationConfig(epochs=1, learning_rate=0.1, mixup=True, views=2)


def test_the_divergence_of_labels_is_that_of_coins() -> None:
    """Each label is a coin: Kullback and Leibler's divergence of two Bernoulli variables, a mean over the labels."""
    followed, logits = torch.tensor([[0.3, -2.0]]), torch.tensor([[-1.0, 0.5]])
    p, q = torch.sigmoid(followed), torch.sigmoid(logits)
    expected = (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    assert divergence_of_labels(logits, followed).item() == pytest.approx(expected.item(), rel=1e-5)
    assert divergence_of_labels(followed, followed).item() == pytest.approx(0)


def test_a_student_of_label_sets_follows_each_label_by_itself() -> None:
    """A logit that all labels share means nothing to softmax, and everything to label sets."""
    teacher = TeacherOutputs(np.array([[[2.0, -1.0]]], dtype=np.float32), {})
    config = DistillationConfig(epochs=1, learning_rate=1e-3, soft_weight=1.0, hidden_weight=0.0)
    loss = distillation_loss(teacher, config)
    output = SimpleNamespace(logits=torch.tensor([[5.0, 2.0]]))
    first = np.array([0])
    assert loss(output, torch.tensor([0]), first, 0).item() == pytest.approx(0, abs=1e-6)
    assert loss(output, torch.tensor([[True, False]]), first, 0).item() > 0.5
