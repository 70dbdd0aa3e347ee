"""The loop that all training shares: seeded, resumable; and the losses and views it is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optimize.build import Build
from optimize.data.inputs import Augmentation
from optimize.models.saved import load_model
from optimize.models.training import TrainingConfig, augmented_tensors, cross_entropy, loss_on_labels, train

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


def test_the_loss_on_label_sets_is_a_mean_of_each_labels_own() -> None:
    logits, sets = torch.tensor([[2.0, -1.0]]), torch.tensor([[True, False]])
    own = [-torch.log(torch.sigmoid(torch.tensor(margin))) for margin in (2.0, 1.0)]
    assert loss_on_labels(logits, sets).item() == pytest.approx(((own[0] + own[1]) / 2).item())
    weighted = loss_on_labels(logits, sets, torch.tensor([3.0, 3.0])).item()
    assert weighted == pytest.approx(((3 * own[0] + own[1]) / 2).item()), "weights are those of items with the label"


def test_a_gpu_may_take_larger_batches_and_says_nothing_of_them_by_default() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert [CONFIG.batch_size_on(device) for device in (cpu, gpu)] == [32, 32]
    assert "gpu_batch_size" not in CONFIG.model_dump(), "what was built stays as it was"
    larger = TrainingConfig(epochs=1, learning_rate=1e-3, batch_size=16, gpu_batch_size=256)
    assert [larger.batch_size_on(device) for device in (cpu, gpu)] == [16, 256]


def test_a_training_with_other_batches_does_not_go_on_from_the_file(
    build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[list[str]] = []

    def noting(output: Any, targets: Any, indices: Any, view: int) -> Any:
        kept.append(sorted(path.name for path in tmp_path.iterdir()))
        return cross_entropy(output, targets, indices, view)

    monkeypatch.setattr(TrainingConfig, "batch_size_on", lambda self, device: 8)
    trained(build, loss=noting, resume=tmp_path / "training.pt")
    assert kept[-1] == ["training.pt-8"]
    assert list(tmp_path.iterdir()) == []
