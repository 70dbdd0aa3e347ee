"""The two tiny cascades as builds of this process: every step reused, so that its result can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from optimize.build import Build
from optimize.recipe import read_recipe
from optimize.results import Result
from tests.conftest import TinyCascades


def reopened(name: str, recipes: dict[str, Path], cascades: TinyCascades) -> Build:
    build = Build(read_recipe(str(recipes[name])), root=recipes[name].parent, folder=cascades.builds[name])
    build.carry_out()
    return build


@pytest.fixture(scope="session")
def text_build(tiny_recipes: dict[str, Path], tiny_cascades: TinyCascades) -> Build:
    return reopened("tiny-text", tiny_recipes, tiny_cascades)


@pytest.fixture(scope="session")
def image_build(tiny_recipes: dict[str, Path], tiny_cascades: TinyCascades) -> Build:
    return reopened("tiny-image", tiny_recipes, tiny_cascades)


@pytest.fixture(params=["tiny-text", "tiny-image"])
def build(request: pytest.FixtureRequest, text_build: Build, image_build: Build) -> Build:
    return text_build if request.param == "tiny-text" else image_build


def result(build: Build, name: str) -> Result:
    (found,) = [result for result in build.results if result.name == name]
    return found


@torch.inference_mode()
def torch_logits(model: Any, inputs: dict[str, NDArray[Any]]) -> NDArray[np.float32]:
    return np.asarray(model(**{name: torch.from_numpy(array) for name, array in inputs.items()}).logits.numpy())


def tiny_resnet50() -> Any:
    """transformers' own ResNet with ResNet-50's blocks and few channels; random weights, trained statistics."""
    from transformers import ResNetConfig, ResNetForImageClassification

    torch.manual_seed(0)
    config = ResNetConfig(embedding_size=8, hidden_sizes=[16, 32, 32, 64], depths=[3, 4, 6, 3], num_labels=3)
    model = ResNetForImageClassification(config)
    model.train()
    with torch.no_grad():
        for _ in range(20):  # batch norm's running statistics, so that activations stay in range
            model(torch.randn(8, 3, 64, 64))
    return model.eval()
