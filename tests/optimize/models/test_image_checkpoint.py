from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from optimize.errors import CheckpointError
from optimize.models.checkpoint import FolderCheckpoint, StateDictCheckpoint, fetch_model
from optimize.models.image_checkpoint import difference, require_channels, settings_of
from optimize.models.torchvision_resnet import TorchvisionResNetConfig
from serving.model.artifact import ImageSettings
from tests.optimize.conftest import torch_logits
from tests.optimize.models.resnets import SHAPES, expected_logits, resnet_state

LABELS = ("cat", "dog", "eel")
CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TIMM = {"architecture": "resnet50", "num_classes": 3, "pretrained_cfg": {"input_size": [3, 96, 96], "crop_pct": 0.95}}


def timm_folder(folder: Path, config: dict[str, Any] = TIMM, **shape: Any) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    save_file(resnet_state(**(shape or SHAPES["resnet50"])), folder / "model.safetensors")
    return folder


def fetch(config: Any, labels: tuple[str, ...] = LABELS, *, fresh_head: bool = False) -> Any:
    return fetch_model(config, "image", labels, Path(), fresh_head=fresh_head)[0].eval()


def from_folder(folder: Path, *, trust_label_order: bool = False, fresh_head: bool = False) -> Any:
    config = FolderCheckpoint(source="folder", path=folder, trust_label_order=trust_label_order)
    return fetch(config, fresh_head=fresh_head)


@torch.no_grad()
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors", "lightning.ckpt"])
def test_a_state_dict_of_torchvision(tmp_path: Path, name: str) -> None:
    state = resnet_state(**SHAPES["resnext"])
    if name == "lightning.ckpt":
        torch.save({"state_dict": {f"model.{key}": value for key, value in state.items()}}, tmp_path / name)
    elif name == "x.pth":
        torch.save(state, tmp_path / name)
    else:
        save_file(state, tmp_path / name)
    model, pixels = fetch(StateDictCheckpoint(source="state-dict", path=tmp_path / name)), torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(model(pixels).logits, expected_logits(state, pixels))
    assert tuple(model.config.id2label.values()) == LABELS
    config = StateDictCheckpoint(source="state-dict", path=tmp_path / name)
    several, _ = fetch_model(config, "image", LABELS, Path(), fresh_head=False, multi_label=True)
    assert several.config.problem_type == "multi_label_classification"


@pytest.mark.parametrize(("source", "depth"), [("state-dict", 20), ("cifar-state-dict", 32), ("state-dict", 56)])
def test_state_dicts_of_cifar_resnets(shared_data: Path, source: Any, depth: int) -> None:
    (path,) = (shared_data / "weights").glob(f"resnet{depth}-*.th")
    model = fetch(StateDictCheckpoint(source=source, path=path), CIFAR)
    assert (model.config.depths, model.config.num_channels) == ([(depth - 2) // 6] * 3, 3)
    with np.load(shared_data / "image" / "cifar10_subset.npz") as data:
        pixels, targets = data["test_x"][::20], data["test_y"][::20]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    inputs = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    assert (torch_logits(model, {"pixel_values": inputs}).argmax(axis=1) == targets).mean() > 0.85


@torch.no_grad()
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_folder_of_timm(tmp_path: Path, wrapped: bool) -> None:
    folder, state = timm_folder(tmp_path), resnet_state(**SHAPES["resnet50"])
    if wrapped:  # as transformers' TimmWrapper saves it
        (folder / "config.json").write_text(json.dumps({"model_type": "timm_wrapper", **TIMM}))
        save_file({f"timm_model.{key}": value for key, value in state.items()}, folder / "model.safetensors")
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(from_folder(folder)(pixels).logits, expected_logits(state, pixels))


def test_labels_that_timm_names_are_put_into_the_order_of_the_data(tmp_path: Path) -> None:
    bias = resnet_state(**SHAPES["resnet50"])["fc.bias"]
    folder = timm_folder(tmp_path, {**TIMM, "label_names": ["eel", "cat", "dog"]})
    assert torch.equal(from_folder(folder).fc.bias, bias[[1, 2, 0]])
    timm_folder(tmp_path, {**TIMM, "label_names": ["ape", "bee", "cow"]})
    with pytest.raises(CheckpointError, match=r"answers with the labels ape, bee, cow, .* trust_label_order = true"):
        from_folder(folder)
    assert torch.equal(from_folder(folder, trust_label_order=True).fc.bias, bias)


def test_an_architecture_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no plain ResNet of timm: the architecture is 'resnetaa50'"):
        from_folder(timm_folder(tmp_path, {**TIMM, "architecture": "resnetaa50"}))


def test_no_model_for_these_labels_without_a_teacher(tmp_path: Path) -> None:
    torch.save(resnet_state(labels=1000), tmp_path / "imagenet.pth")
    config = StateDictCheckpoint(source="state-dict", path=tmp_path / "imagenet.pth")
    with pytest.raises(CheckpointError, match=r"imagenet\.pth has no trained head for 3 labels \(its .* 1000 rows"):
        fetch(config)
    assert fetch(config, fresh_head=True).config.num_labels == 3


def test_what_is_passed_over_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": resnet_state() | {"criterion.weight": torch.ones(3)}}, tmp_path / "x.ckpt")
    fetch(StateDictCheckpoint(source="state-dict", path=tmp_path / "x.ckpt"))
    assert "passed over, as no part of the ResNet: criterion.weight" in capsys.readouterr().out


def test_settings_come_with_each_kind_of_checkpoint(tmp_path: Path) -> None:
    torch.save(resnet_state(), tmp_path / "resnet18-f37072fd.pth")
    assert settings_of(tmp_path / "resnet18-f37072fd.pth").resize_short_side == 256
    timm = settings_of(timm_folder(tmp_path / "timm"))
    assert (timm.width, timm.resize_short_side, timm.resample) == (96, 101, "bicubic")
    TorchvisionResNetConfig().save_pretrained(tmp_path / "own")
    (tmp_path / "own" / "preprocessor_config.json").write_text('{"feature_extractor_type": "ConvNextFeatureExtractor"}')
    assert settings_of(tmp_path / "own").width == 384


def test_a_checkpoint_without_settings_needs_the_table(tmp_path: Path) -> None:
    torch.save(resnet_state(channels=1), tmp_path / "grey.pth")
    TorchvisionResNetConfig().save_pretrained(tmp_path / "own")
    for source in (tmp_path / "grey.pth", tmp_path / "own"):
        with pytest.raises(CheckpointError, match=r"brings no settings for images; add the table \[image\]"):
            settings_of(source)
    squashed = timm_folder(tmp_path / "timm", {**TIMM, "pretrained_cfg": {"crop_mode": "border"}})
    with pytest.raises(CheckpointError, match=r"as Sieve cannot \(crop_mode is .*\); add the table \[image\]"):
        settings_of(squashed)


def test_a_recipe_that_differs_is_told_both_values(tmp_path: Path) -> None:
    folder = timm_folder(tmp_path)
    own = settings_of(folder)
    assert difference(own, folder) is None
    told = difference(own.model_copy(update={"width": 64, "resample": "bilinear"}), folder)
    assert told == (
        "image: [image] differs from timm's config.json: width = 64 (there 96), resample = bilinear (there bicubic); "
        "the recipe's is used"
    )
    assert difference(own, None) is None
    timm_folder(tmp_path, {**TIMM, "pretrained_cfg": {"input_size": [3, 96, 64]}})
    assert "as Sieve cannot (input_size is 64 x 96, no square); the recipe's" in str(difference(own, folder))


@pytest.mark.parametrize(("channels", "remedy"), [(1, 'set [image] mode = "L"'), (3, 'set [image] mode = "RGB"')])
def test_a_model_for_other_channels_is_refused_with_the_mode_to_set(channels: int, remedy: str) -> None:
    rgb = ImageSettings(width=8, height=8, mean=(0.5,) * 3, std=(0.5,) * 3)
    grey = ImageSettings(width=8, height=8, mode="L", mean=(0.5,), std=(0.5,))
    model = TorchvisionResNetConfig(num_channels=channels)
    right, wrong = (grey, rgb) if channels == 1 else (rgb, grey)
    require_channels(model, right)
    with pytest.raises(CheckpointError, match=f"takes images of {channels} channel") as caught:
        require_channels(model, wrong)
    assert remedy in str(caught.value)
