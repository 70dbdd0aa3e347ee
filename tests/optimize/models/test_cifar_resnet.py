from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForImageClassification, BertConfig, BertForSequenceClassification

from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig, convolve_shortcuts


def small_resnet() -> CifarResNet:
    torch.manual_seed(0)
    model = CifarResNet(CifarResNetConfig(depths=(2, 1, 1), widths=(4, 4, 6), image_size=8, num_labels=3))
    for module in model.modules():  # statistics that make batch norm do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


@torch.no_grad()
def test_logits_and_hidden_states_have_the_shapes_of_the_groups() -> None:
    output = small_resnet()(torch.zeros(5, 3, 8, 8), output_hidden_states=True)
    assert output.logits.shape == (5, 3)
    assert [tuple(state.shape) for state in output.hidden_states] == [
        (5, 4, 8, 8),
        (5, 4, 8, 8),
        (5, 4, 4, 4),
        (5, 6, 2, 2),
    ]
    assert small_resnet()(torch.zeros(5, 3, 8, 8)).hidden_states is None


@torch.no_grad()
def test_shortcuts_as_convolutions_give_the_same_logits() -> None:
    model, pixels = small_resnet(), torch.randn(4, 3, 8, 8)
    convolved = convolve_shortcuts(model)
    assert [block[0].shortcut_weight is None for block in (convolved.layer1, convolved.layer2, convolved.layer3)] == [
        True,  # keeps the shape
        False,  # subsamples
        False,  # subsamples and adds channels
    ]
    torch.testing.assert_close(convolved(pixels).logits, model(pixels).logits)
    assert model.layer3[0].shortcut_weight is None, "the model itself is left as it was"


def test_other_models_are_left_alone() -> None:
    other = BertForSequenceClassification(BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=1))
    assert convolve_shortcuts(other) is other


@torch.no_grad()
def test_a_saved_folder_loads_through_the_auto_class(tmp_path: Path) -> None:
    model, pixels = small_resnet(), torch.randn(2, 3, 8, 8)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(pixels).logits, model(pixels).logits)
