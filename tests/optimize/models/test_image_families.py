from __future__ import annotations

from transformers import ResNetConfig, ResNetForImageClassification

from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.image_families import IMAGE_FAMILIES, image_family
from optimize.models.torchvision_resnet import TorchvisionResNet, TorchvisionResNetConfig


def test_every_family_names_the_modules_of_its_groups() -> None:
    models = [
        ResNetForImageClassification(ResNetConfig(embedding_size=4, hidden_sizes=[8, 8], depths=[1, 2])),
        CifarResNet(CifarResNetConfig(depths=(1, 2, 1), widths=(4, 4, 4))),
        TorchvisionResNet(TorchvisionResNetConfig(depths=(1, 2), widths=(4, 8), inner_widths=(4, 8), stem_width=4)),
    ]
    assert {model.config.model_type for model in models} == set(IMAGE_FAMILIES)
    for model in models:
        family = image_family(model.config)
        groups = [model.get_submodule(family.group_name(index)) for index in range(len(model.config.depths))]
        assert [len(list(group.children())) for group in groups] == model.config.depths


def test_shortcuts_without_parameters_fix_the_widths() -> None:
    fixed = IMAGE_FAMILIES["cifar_resnet"]
    assert [fixed.must_stay(name) for name in ("conv1", "layer1.0.conv2", "layer1.0.conv1")] == [True, True, False]
    assert not IMAGE_FAMILIES["torchvision_resnet"].must_stay("conv1")
