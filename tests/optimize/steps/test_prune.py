from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy

from optimize.build import Build
from optimize.data.inputs import Preparer
from optimize.data.splits import Split
from optimize.errors import StepError
from optimize.models.saved import load_model, save_model
from optimize.models.training import predict
from optimize.steps.prune import Prune, prune
from serving.model.artifact import ImageSettings
from tests.optimize.conftest import result, tiny_resnet50


def config(**keys: Any) -> Prune:
    return Prune(epochs=1, learning_rate=1e-3, importance_size=64, **keys)


def pruned_by(build: Build, **keys: Any) -> tuple[Any, Any]:
    model = load_model(build.teacher.path, build.recipe.task)
    return model, prune(model, config(**keys), data=build.prepared("train"), preparer=build.preparer, seed=1)


def size(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_heads_and_units_of_a_bert_go_and_the_shapes_shrink(text_build: Build) -> None:
    model, smaller = pruned_by(text_build, heads_share=0.5, feed_forward_share=0.25)
    for layer in smaller.bert.encoder.layer:
        assert layer.attention.self.num_attention_heads == 2
        assert layer.attention.self.query.weight.shape == (16, 32)
        assert layer.attention.output.dense.weight.shape == (32, 16)
        assert layer.intermediate.dense.weight.shape == (48, 32)
        assert layer.output.dense.weight.shape == (32, 48)
    assert size(smaller) < size(model)
    assert model.bert.encoder.layer[0].attention.self.num_attention_heads == 4, "the model itself is left as it was"


def test_what_the_loss_would_not_miss_goes_first(text_build: Build) -> None:
    model = load_model(text_build.teacher.path, "text")
    for layer in model.bert.encoder.layer:  # head 2 and the units 7, 8 and 9 have no say in anything
        layer.attention.output.dense.weight.data[:, 16:24] = 0
        layer.output.dense.weight.data[:, 7:10] = 0
    data, preparer = text_build.prepared("train"), text_build.preparer
    smaller = prune(model, config(heads_share=0.25, feed_forward_share=3 / 64), data=data, preparer=preparer, seed=1)
    inputs = preparer.tensors(data.items[:8])
    with torch.inference_mode():
        torch.testing.assert_close(smaller(**inputs).logits, model(**inputs).logits)
    assert set(smaller.config.pruned_heads[0]) == {2}


def test_channels_of_a_cifar_resnet_go(image_build: Build) -> None:
    model, smaller = pruned_by(image_build, channels_share=0.5, channels_multiple=4)
    assert smaller.layer3[0].conv1.weight.shape[0] == 8
    assert smaller.layer3[0].conv2.weight.shape[:2] == (16, 8)
    assert size(smaller) < 0.7 * size(model)


def test_channels_of_a_resnet_of_transformers_go() -> None:
    model = tiny_resnet50()
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (16, 64, 64, 3), generator=generator, dtype=torch.uint8).numpy()
    targets = torch.arange(16).numpy() % 3
    settings = ImageSettings(width=64, height=64, mean=(0.5,) * 3, std=(0.25,) * 3)
    preparer = Preparer(settings)
    data = preparer.prepare(Split("train", images, targets, tuple(map(str, range(16))), frozenset()))
    smaller = prune(model, config(channels_share=0.5, channels_multiple=4), data=data, preparer=preparer, seed=1)
    assert size(smaller) < 0.45 * size(model)
    assert smaller(torch.zeros(2, 3, 64, 64)).logits.shape == (2, 3)


def test_a_pruned_checkpoint_comes_back_as_it_was(build: Build, tmp_path: Path) -> None:
    keys = (
        {"channels_share": 0.5, "channels_multiple": 4}
        if build.recipe.task == "image"
        else {"heads_share": 0.25, "feed_forward_share": 0.5}
    )
    _, smaller = pruned_by(build, **keys)
    loaded = load_model(save_model(smaller, tmp_path / "model"), build.recipe.task)
    inputs = build.preparer.tensors(build.prepared("train").items[:4])
    with torch.inference_mode():
        assert torch.equal(loaded(**inputs).logits, smaller(**inputs).logits)


def test_recovery_followed(build: Build) -> None:
    before, after = result(build, "screen/distill"), result(build, "screen/prune")
    assert after.size_bytes < before.size_bytes
    train_set, task = build.prepared("train"), build.recipe.task
    (step,) = [step for step in build.recipe.screen if isinstance(step, Prune)]
    cut = prune(load_model(before.path, task), step, data=train_set, preparer=build.preparer, seed=build.recipe.seed)
    # The accuracy of a model that is right about 70 % of the time is a matter of luck; its loss is not.
    targets = torch.from_numpy(train_set.targets)
    losses = [
        cross_entropy(torch.from_numpy(predict(model, train_set, build.preparer)), targets)
        for model in (cut, load_model(after.path, task))
    ]
    assert losses[1] < losses[0]


def test_pruning_nothing_is_refused(text_build: Build, image_build: Build) -> None:
    with pytest.raises(StepError, match="`heads_share` or `feed_forward_share`"):
        pruned_by(text_build, channels_share=0.5, channels_multiple=4)
    with pytest.raises(StepError, match="`channels_share` above 0"):
        pruned_by(image_build, heads_share=0.5)
