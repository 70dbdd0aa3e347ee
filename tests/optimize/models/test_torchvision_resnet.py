from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from transformers import AutoModelForImageClassification, ResNetConfig, ResNetForImageClassification

from optimize.data.inputs import Preparer
from optimize.data.splits import Split
from optimize.judge.integers import exact_logits
from optimize.models.resnet_layouts import resnet_of
from optimize.models.resnet_state import State
from optimize.models.saved import load_model, save_model
from optimize.models.torchvision_resnet import TorchvisionResNet, TorchvisionResNetConfig
from optimize.steps.distill import Distill, make_student
from optimize.steps.export import Export, export
from optimize.steps.fuse import Fuse, fuse
from optimize.steps.prune import Prune, prune
from optimize.steps.quantize import Quantize, quantize_static
from serving.model.artifact import ImageSettings
from tests.optimize.conftest import torch_logits
from tests.optimize.models.resnets import SHAPES, expected_logits, resnet_state
from tests.optimize.steps.test_export import run
from tests.optimize.steps.test_fuse import check_half, operators
from tests.optimize.steps.test_quantize import after_fusion

LABELS = ("a", "b", "c")


def model_of(state: State) -> TorchvisionResNet:
    model = resnet_of(state, LABELS, where="test.pth", fresh_head=False).eval()
    assert isinstance(model, TorchvisionResNet)
    return model


@torch.no_grad()
@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_the_layers_written_out(name: str) -> None:
    state = resnet_state(**SHAPES[name])
    pixels = torch.randn(2, state["conv1.weight"].shape[1], 65, 48)
    torch.testing.assert_close(model_of(state)(pixels).logits, expected_logits(state, pixels))


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_logits_are_those_of_transformers_with_the_same_tensors(name: str) -> None:
    state = resnet_state(**SHAPES[name])
    model = model_of(state)
    theirs = ResNetForImageClassification(
        ResNetConfig(
            embedding_size=model.config.stem_width,
            hidden_sizes=model.config.widths,
            depths=model.config.depths,
            layer_type=model.config.block,
            num_labels=3,
        )
    ).eval()
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] in ("conv1", "bn1"):
            start = "resnet.embedder.embedder"
            part = "convolution" if parts[0] == "conv1" else "normalization"
        elif parts[0] == "fc":
            start, part = "classifier", "1"
        else:
            start = f"resnet.encoder.stages.{int(parts[0][5:]) - 1}.layers.{parts[1]}"
            if parts[2] == "downsample":
                start, part = f"{start}.shortcut", "convolution" if parts[3] == "0" else "normalization"
            else:
                start = f"{start}.layer.{int(parts[2][-1]) - 1}"
                part = "convolution" if parts[2].startswith("conv") else "normalization"
        renamed[f"{start}.{part}.{parts[-1]}"] = value
    theirs.load_state_dict(renamed)
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(pixels).logits, theirs(pixels).logits)


@torch.no_grad()
def test_hidden_states_are_those_of_the_stem_and_of_each_group() -> None:
    model, pixels = model_of(resnet_state(expansion=4)), torch.zeros(2, 3, 64, 64)
    shapes = [tuple(state.shape) for state in model(pixels, output_hidden_states=True).hidden_states]
    assert shapes == [(2, 8, 16, 16), (2, 32, 16, 16), (2, 64, 8, 8), (2, 128, 4, 4), (2, 256, 2, 2)]
    assert model(pixels).hidden_states is None


@torch.no_grad()
def test_a_saved_folder_loads_through_the_auto_class(tmp_path: Path) -> None:
    model, pixels = model_of(resnet_state(**SHAPES["resnext"])), torch.randn(2, 3, 64, 64)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path).eval()
    assert torch.equal(loaded(pixels).logits, model(pixels).logits)


@pytest.mark.parametrize(
    ("shape", "parameters"),
    [
        ({}, 11_689_512),  # resnet18, as torchvision's documentation says
        ({"block": "bottleneck", "depths": (3, 4, 6, 3), "widths": (256, 512, 1024, 2048)}, 25_557_032),  # resnet50
        (
            {
                "block": "bottleneck",
                "depths": (3, 4, 6, 3),
                "widths": (256, 512, 1024, 2048),
                "inner_widths": (128, 256, 512, 1024),
                "groups": 32,
            },
            25_028_904,  # resnext50_32x4d
        ),
        (
            {
                "block": "bottleneck",
                "depths": (3, 4, 6, 3),
                "widths": (256, 512, 1024, 2048),
                "inner_widths": (128, 256, 512, 1024),
            },
            68_883_240,  # wide_resnet50_2
        ),
    ],
)
def test_full_sizes_have_the_parameters_that_torchvision_publishes(shape: dict[str, object], parameters: int) -> None:
    with torch.device("meta"):
        model = TorchvisionResNet(TorchvisionResNetConfig(num_labels=1000, **shape))  # type: ignore[arg-type]
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def pruned(model: TorchvisionResNet, multiple: int = 4) -> Any:
    """Half of the channels of `model` taken out, by the importance that a few random images give."""
    channels = model.config.num_channels
    settings = ImageSettings(
        width=48, height=48, mode="RGB" if channels == 3 else "L", mean=(0.5,) * channels, std=(0.25,) * channels
    )
    images = np.random.default_rng(0).integers(0, 256, (8, 48, 48, channels), dtype=np.uint8)
    preparer = Preparer(settings)
    data = preparer.prepare(Split("train", images, np.arange(8) % 3, tuple("abcdefgh"), frozenset()))
    config = Prune(epochs=1, learning_rate=1e-3, channels_share=0.5, channels_multiple=multiple)
    return prune(model, config, data=data, preparer=preparer, seed=1)


@torch.no_grad()
def test_a_student_has_the_blocks_asked_for() -> None:
    teacher = model_of(resnet_state(depths=(3, 2, 1, 2), expansion=4))
    student: Any = make_student(teacher, Distill(epochs=1, learning_rate=1e-3, depths=(2, 2, 1, 1)))
    assert student.config.depths == [len(student.get_submodule(f"layer{n}")) for n in (1, 2, 3, 4)] == [2, 2, 1, 1]
    assert torch.equal(student.layer1[1].conv2.weight, teacher.layer1[2].conv2.weight)
    assert student(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 3)


@pytest.mark.parametrize("name", SHAPES)
def test_a_pruned_model_is_smaller_and_comes_back_as_it_was(tmp_path: Path, name: str) -> None:
    model = model_of(resnet_state(**SHAPES[name]))
    smaller = pruned(model)
    before, after = (sum(parameter.numel() for parameter in each.parameters()) for each in (model, smaller))
    assert after < 0.45 * before
    loaded = load_model(save_model(smaller, tmp_path / "model"), "image")
    pixels = torch.randn(2, model.config.num_channels, 48, 48)
    with torch.inference_mode():
        assert torch.equal(loaded(pixels).logits, smaller(pixels).logits)


@pytest.mark.parametrize("groups", [4, 16])
def test_the_convolutions_in_groups_lose_channels_too(tmp_path: Path, groups: int) -> None:
    model = model_of(resnet_state(expansion=4, width=16, groups=groups, depths=(1, 2)))
    smaller = pruned(model, multiple=8)
    # Half of them, in multiples of 8 over all groups. At 16 groups the first has one channel in each.
    assert [smaller.layer1[0].conv2.out_channels, smaller.layer2[1].conv2.out_channels] == [8, 16]
    assert smaller.layer1[0].conv2.groups == (4 if groups == 4 else 8)
    loaded = load_model(save_model(smaller, tmp_path / "model"), "image")
    pixels = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        assert torch.equal(loaded(pixels).logits, smaller(pixels).logits)


def test_a_pruned_resnext_becomes_graphs_that_say_the_same(tmp_path: Path) -> None:
    model = pruned(model_of(resnet_state(**SHAPES["resnext"])))
    inputs = {"pixel_values": np.random.default_rng(0).normal(size=(4, 3, 48, 48)).astype(np.float32)}
    want = torch_logits(model, inputs)
    plain = export(model, Export(), tmp_path / "plain.onnx")
    np.testing.assert_allclose(run(plain, inputs), want, atol=1e-4)
    check_half(plain, fuse(plain, model.config, Fuse(precision="fp16"), tmp_path / "half.onnx"), inputs)
    batches = [np.random.default_rng(1).normal(size=(16, 3, 48, 48)).astype(np.float32)]
    small = quantize_static(model, Quantize(), tmp_path / "int8.onnx", calibration=batches, accuracy=lambda _: 1.0)
    fused = operators(after_fusion(small, tmp_path))
    assert (fused["QLinearConv"], fused["Conv"]) == (operators(plain)["Conv"], 0)
    got = run(small, inputs)
    assert np.abs(got - want).max() < 0.3 * np.abs(want).max(), "random weights, so a loose bound"
    np.testing.assert_allclose(exact_logits(onnx.load(small), inputs), got, atol=0.03 * np.abs(want).max())
