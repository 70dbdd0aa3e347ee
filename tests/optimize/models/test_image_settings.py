from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor

from optimize.models.image_settings import InexpressibleError, of_processor, of_timm, of_torchvision
from serving.model.artifact import ImageSettings
from serving.model.image import ImageDecoder

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
IMAGENET = {"image_mean": list(MEAN), "image_std": list(STD)}


def folder_of(tmp_path: Path, processor: dict[str, Any], **config: Any) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "resnet", **config}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    return tmp_path


def settings_of(folder: Path) -> ImageSettings:
    brought = of_processor(folder)
    assert brought is not None
    return brought.settings


@pytest.mark.parametrize(
    "processor",
    [
        # The file of microsoft/resnet-50.
        {
            "feature_extractor_type": "ConvNextFeatureExtractor",
            "size": 224,
            "crop_pct": 0.875,
            "resample": 3,
            **IMAGENET,
        },
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 384}, "crop_pct": 0.95},
        {"image_processor_type": "ConvNextImageProcessorFast", "size": {"shortest_edge": 56}, "resample": 1},
        {"size": 56, "resample": 0, "do_normalize": False},
        {"size": 56, "do_rescale": False, "image_mean": [120.0, 110.0, 100.0], "image_std": [60.0, 50.0, 40.0]},
        {"size": 56, "rescale_factor": 1 / 127.5, "image_mean": [1.0] * 3, "image_std": [1.0] * 3},
        {"size": 56, "image_mean": 0.5, "image_std": 0.25},
        {"image_processor_type": "ViTImageProcessor", "size": {"height": 40, "width": 56}},
        {
            "image_processor_type": "BitImageProcessor",
            "size": {"shortest_edge": 64},
            "crop_size": {"height": 40, "width": 56},
        },
        {"image_processor_type": "MobileNetV2ImageProcessor", "size": {"shortest_edge": 64}, "crop_size": 56},
    ],
)
def test_images_become_the_pixels_of_transformers_own_processor(tmp_path: Path, processor: dict[str, Any]) -> None:
    folder = folder_of(tmp_path, processor)
    # Sides in the proportion of 4 to 3, so that every library resizes to whole pixels.
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((480, 360), Image.Resampling.BICUBIC)
    theirs = AutoImageProcessor.from_pretrained(folder, use_fast=False)(images=image, return_tensors="np")
    ours = ImageDecoder(settings_of(folder)).from_image(image)
    np.testing.assert_allclose(ours, theirs["pixel_values"][0], atol=2e-5)


def test_one_channel_is_the_mode_l(tmp_path: Path) -> None:
    settings = settings_of(folder_of(tmp_path, {"size": 224, "image_mean": [0.5], "image_std": [0.2]}, num_channels=1))
    assert (settings.mode, settings.mean, settings.std) == ("L", (0.5,), (0.2,))
    scalar = settings_of(folder_of(tmp_path, {"size": 224, "image_mean": 0.5, "image_std": 0.2}, num_channels=1))
    assert scalar == settings


def test_a_folder_without_the_file_brings_nothing(tmp_path: Path) -> None:
    assert of_processor(tmp_path) is None


@pytest.mark.parametrize(
    ("processor", "told"),
    [
        ({"size": 224, "do_resize": False}, "do_resize is false"),
        ({"size": 224, "resample": 4}, "resample is 4, none of nearest, lanczos, bilinear, bicubic"),
        ({"size": {"height": 224, "width": 224}}, "ConvNextImageProcessor with size ['height', 'width'] is not known"),
        (
            {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 224}, "do_center_crop": False},
            "a crop",
        ),
        (
            {"image_processor_type": "BitImageProcessor", "size": 224, "crop_size": 256},
            "256 x 256 pixels from 224 pads",
        ),
        ({"image_processor_type": "MobileViTImageProcessor"}, "MobileViTImageProcessor with size"),
        ({"image_processor_type": "NoSuchProcessor"}, "transformers cannot read it (Unrecognized image processor"),
        ({"size": 224, "image_mean": [0.5, 0.5], "image_std": [1, 1]}, "mean has 2 values"),
        ({"size": 224, "image_std": [0.0, 0.1, 0.1]}, "std.0: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_served_is_named(tmp_path: Path, processor: dict[str, Any], told: str) -> None:
    with pytest.raises(InexpressibleError) as caught:
        of_processor(folder_of(tmp_path, processor))
    assert told in str(caught.value)
    assert len(str(caught.value)) < 200


def test_timm_with_all_its_fields_and_with_few() -> None:
    given = {
        "input_size": [3, 288, 288],
        "crop_pct": 0.95,
        "interpolation": "bilinear",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    assert of_timm({"pretrained_cfg": given}).settings == ImageSettings(
        width=288, height=288, resize_short_side=303, resample="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3
    )
    assert of_timm({"architecture": "resnet18"}).settings == ImageSettings(
        width=224, height=224, resize_short_side=256, resample="bicubic", mean=MEAN, std=STD
    )
    squashed = {"input_size": [1, 64, 64], "crop_pct": 1.0, "crop_mode": "squash", "mean": [0.5], "std": [0.5]}
    settings = of_timm(squashed).settings
    assert (settings.mode, settings.resize_short_side, settings.width) == ("L", None, 64)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"input_size": [3, 224, 160]}, "input_size is 160 x 224, no square"),
        ({"crop_mode": "border"}, "crop_mode is 'border', with crop_pct 0.875"),
        ({"crop_mode": "squash", "crop_pct": 0.9}, "crop_mode is 'squash', with crop_pct 0.9"),
        ({"interpolation": "random"}, "resample: Input should be"),
        ({"crop_pct": 1.1}, "pads the image"),
    ],
)
def test_what_timm_does_and_we_cannot(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InexpressibleError, match=told):
        of_timm({"pretrained_cfg": given})


@pytest.mark.parametrize(
    ("name", "short"), [("resnet50-0676ba61.pth", 256), ("resnet50-11ad3fa6.pth", 232), ("my-resnet.pt", 256)]
)
def test_what_torchvision_published(name: str, short: int) -> None:
    assert of_torchvision(name).settings == ImageSettings(
        width=224, height=224, resize_short_side=short, resample="bilinear", mean=MEAN, std=STD
    )
