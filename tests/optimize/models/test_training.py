"""The loop that all training shares: seeded, resumable; and the losses and views it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from optimize.build import Build
from optimize.data.inputs import Augmentation, collect, shuffled_batches
from optimize.models.checkpoint import load_model
from optimize.models.distillation import DistillationConfig, TeacherOutputs, distillation_loss
from optimize.models.training import TrainingConfig, augmented_tensors, cross_entropy, predict, train

CONFIG = TrainingConfig(epochs=3, learning_rate=1e-3, crop=1, flip=True, views=2)


def trained(build: Build, *, seed: int = 1, loss: Any = cross_entropy, resume: Path | None = None) -> dict[str, Any]:
    model = load_model(build.folder / "checkpoint", build.recipe.task)
    data, preparer = build.prepared("train"), build.preparer
    return train(model, data, preparer, CONFIG, loss=loss, seed=seed, title="test", resume=resume).state_dict()


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_same_seed_same_weights(build: Build) -> None:
    assert same(trained(build), trained(build))
    assert not same(trained(build), trained(build, seed=2))


def test_an_interrupted_training_goes_on_to_the_same_weights(build: Build, tmp_path: Path) -> None:
    seen: list[int] = []

    def interrupted(output: Any, targets: Any, indices: Any, view: int) -> Any:
        seen.append(len(indices))
        if sum(seen) > 2.5 * len(build.prepared("train")):
            raise KeyboardInterrupt
        return cross_entropy(output, targets, indices, view)

    resume = tmp_path / "training.pt"
    with pytest.raises(KeyboardInterrupt):
        trained(build, loss=interrupted, resume=resume)
    assert torch.load(resume, weights_only=True)["epoch"] == 2
    assert same(trained(build, resume=resume), trained(build))
    assert not list(tmp_path.iterdir()), "nothing is left of it at the end"


def test_a_students_loss_is_least_where_it_says_what_the_teacher_says(build: Build, tmp_path: Path) -> None:
    config = DistillationConfig(epochs=1, learning_rate=1e-3, soft_weight=1.0, hidden_weight=1.0)
    teacher = load_model(build.teacher.path, build.recipe.task)
    data, preparer = build.prepared("train"), build.preparer
    outputs = TeacherOutputs.compute(teacher, data, preparer, config, 1, tmp_path / "kept.npz")
    indices = np.arange(16)
    targets = torch.from_numpy(data.targets[indices])
    loss = distillation_loss(outputs, config)

    def of(model: Any) -> float:
        with torch.inference_mode():
            inputs = preparer.tensors([data.items[i] for i in indices])
            return float(loss(model(**inputs, output_hidden_states=True), targets, indices, 0))

    assert of(teacher) < 1e-4
    assert of(load_model(build.folder / "checkpoint", build.recipe.task)) > 0.05


def test_a_teachers_outputs_are_computed_once(build: Build, tmp_path: Path) -> None:
    config = DistillationConfig(epochs=2, learning_rate=1e-3, crop=1, views=2)
    teacher = load_model(build.teacher.path, build.recipe.task)
    data, preparer = build.prepared("train"), build.preparer
    first = TeacherOutputs.compute(teacher, data, preparer, config, 1, tmp_path / "kept.npz")
    again = TeacherOutputs.compute(None, data, preparer, config, 1, tmp_path / "kept.npz")  # type: ignore[arg-type]
    np.testing.assert_array_equal(first.logits, again.logits)
    assert len(first.hidden) == len(again.hidden)
    assert first.logits.shape == (2, len(data), len(build.splits.labels))
    np.testing.assert_allclose(first.logits[0], predict(teacher, data, preparer), atol=1e-4)
    changed = not np.allclose(first.logits[0], first.logits[1], atol=1e-3)
    assert changed == (build.recipe.task == "image"), "images have a second view, texts have one"


def test_batches_cover_everything_once_and_rows_come_back_in_order(build: Build) -> None:
    data = build.prepared("train")
    batches = list(shuffled_batches(data, 32, np.random.default_rng(1)))
    assert sorted(np.concatenate(batches)) == list(range(len(data)))
    assert max(map(len, batches)) == 32
    np.testing.assert_array_equal(collect(data, 7, lambda indices: data.targets[indices]), data.targets)


def test_a_view_is_the_same_whenever_it_is_looked_at() -> None:
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    views = Augmentation(crop=2, flip=True, seed=5)
    indices = np.array([4, 7])
    one, two = (views.apply(pixels, indices, view=3, count=10) for _ in range(2))
    assert torch.equal(one, two)
    assert torch.equal(one[1:], views.apply(pixels[1:], indices[1:], view=3, count=10)), "whatever stands beside it"
    assert torch.equal(views.apply(pixels, indices, view=0, count=10), pixels), "view 0 is the image itself"
    assert not torch.equal(one, pixels)


def test_mixtures_are_the_same_whenever_they_are_looked_at_and_lie_between_two_images(image_build: Build) -> None:
    data, preparer = image_build.prepared("train"), image_build.preparer
    mixing, plain = (Augmentation(crop=1, mixup=mixup, seed=5) for mixup in (True, False))
    indices = np.arange(8)

    def view(augmentation: Augmentation, indices: np.ndarray, number: int) -> torch.Tensor:
        return augmented_tensors(data, preparer, augmentation, indices, number)["pixel_values"]

    mixed = view(mixing, indices, 3)
    torch.testing.assert_close(mixed[4:], view(mixing, indices[4:], 3))
    partners, shares = mixing.partners(indices, 3, len(data))
    torch.testing.assert_close(mixed, shares * view(plain, indices, 3) + (1 - shares) * view(plain, partners, 3))
    assert not torch.equal(mixed, view(mixing, indices, 4))
    assert torch.equal(view(mixing, indices, 0), view(plain, indices, 0)), "view 0 is the image itself"


def test_mixtures_have_no_labels_to_learn_from() -> None:
    with pytest.raises(ValidationError, match="mixup needs soft_weight = 1"):
        DistillationConfig(epochs=1, learning_rate=0.1, mixup=True, views=2)
