from __future__ import annotations

import pytest
import torch

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.resnet_layouts import channels_of, has_cifar_layout, resnet_of
from optimize.models.resnet_state import State
from tests.optimize.models.resnets import SHAPES, resnet_state

LABELS = ("a", "b", "c")


def cifar_state(num_channels: int = 1) -> State:
    config = CifarResNetConfig(depths=(2, 1, 1), widths=(4, 4, 6), num_channels=num_channels, num_labels=3)
    return dict(CifarResNet(config).state_dict())


def refused(state: State, told: str, *, fresh_head: bool = False) -> str:
    with pytest.raises(CheckpointError, match=told) as caught:
        resnet_of(state, LABELS, where="x.pth", fresh_head=fresh_head)
    assert len(str(caught.value)) < 450
    return str(caught.value)


def test_the_shapes_tell_the_numbers_of_the_architecture() -> None:
    state = resnet_state(depths=(3, 1, 2, 1), expansion=4, groups=4, inner=2, channels=1)
    config = resnet_of(state, LABELS, where="x.pth", fresh_head=False).config
    assert (config.block, config.depths, config.groups) == ("bottleneck", [3, 1, 2, 1], 4)
    assert (config.widths, config.inner_widths) == ([32, 64, 128, 256], [16, 32, 64, 128])
    assert (config.stem_width, config.num_channels, channels_of(state)) == (8, 1, 1)
    assert config.id2label == {0: "a", 1: "b", 2: "c"}


def test_a_cifar_resnet_is_told_by_its_stem_and_shortcuts() -> None:
    state = cifar_state()
    assert has_cifar_layout(state)
    assert not has_cifar_layout(resnet_state())
    assert not has_cifar_layout(state | {"layer2.0.shortcut.0.weight": torch.ones(4, 4, 1, 1)})
    model = resnet_of(state, LABELS, where="x.pth", fresh_head=False)
    assert (model.config.model_type, model.config.num_channels) == ("cifar_resnet", 1)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("state", [resnet_state(), cifar_state()])
def test_a_head_for_other_labels_is_fresh_or_refused(state: State) -> None:
    four = ("a", "b", "c", "d")
    with pytest.raises(CheckpointError, match=r"no trained head for 4 labels \(its \w+\.weight has 3 rows\); add \[\["):
        resnet_of(state, four, where="x.pth", fresh_head=False)
    model = resnet_of(state, four, where="x.pth", fresh_head=True)
    assert model.config.num_labels == 4
    assert torch.equal(model.state_dict()["conv1.weight"], state["conv1.weight"])
    # A head that fits stays, also where the teacher is trained on.
    kept = resnet_of(state, LABELS, where="x.pth", fresh_head=True).state_dict()
    assert all(torch.equal(kept[key], state[key]) for key in state if key.startswith(("fc.", "linear.")))


def test_a_head_of_several_layers_is_replaced_or_named() -> None:
    state = resnet_state()
    state["fc.1.weight"], state["fc.1.bias"] = state.pop("fc.weight"), state.pop("fc.bias")
    refused(state, r"it has no fc\.weight, but fc\.1\.weight, fc\.1\.bias")
    assert resnet_of(state, LABELS, where="x.pth", fresh_head=True).config.num_labels == 3


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"conv1.0.weight": (8, 3, 3, 3)}, r"a deep stem"),
        ({"layer2.0.downsample.1.weight": (16, 8, 1, 1)}, r"shortcuts with average pools"),
        ({"layer1.0.se.fc1.weight": (4, 8, 1, 1)}, r"squeeze-and-excitation"),
        ({"layer1.0.conv2.fc1.weight": (4, 8, 1, 1)}, r"split attention"),
        ({"layer1.0.attn.conv.weight": (1, 1, 3)}, r"attention in its blocks"),
        ({"layer1.0.convs.0.weight": (2, 2, 3, 3)}, r"Res2Net"),
        ({"conv1.weight": (8, 3, 3, 3)}, r"a stem of 3x3 pixels, whose stride no tensor tells"),
        ({"attention.weight": (3, 3)}, r"attention\.weight is no part of one; save the model's whole"),
        ({"layer3.0.conv2.weight": (32, 16, 3, 3)}, r"layer3\.0\.conv2\.weight is of another shape"),
    ],
)
def test_what_is_no_plain_resnet_is_refused_with_the_reason(change: dict[str, tuple[int, ...]], told: str) -> None:
    refused(resnet_state() | {key: torch.zeros(shape) for key, shape in change.items()}, told)


def test_missing_tensors_are_counted() -> None:
    state = {key: value for key, value in resnet_state(**SHAPES["resnet50"]).items() if ".bn" not in key}
    refused(state, r"not the whole of a plain ResNet: layer1\.0\.bn1\.weight, .* and \d+ more are missing")
    del state["conv1.weight"], state["layer2.0.conv3.weight"]
    refused(state, r"conv1\.weight, .* and \d+ more are missing")


def test_another_norm_is_refused() -> None:
    state = {key: value for key, value in resnet_state().items() if ".running_" not in key}
    refused(state, r"another norm than batch norm")
