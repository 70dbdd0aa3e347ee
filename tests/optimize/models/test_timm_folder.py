from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimize.errors import CheckpointError
from optimize.models.timm_folder import require_plain, timm_config, timm_labels, timm_weights


@pytest.mark.parametrize(
    ("config", "is_timm"),
    [
        ({"architecture": "resnet18", "num_classes": 3}, True),
        ({"architecture": "resnet18", "model_type": "timm_wrapper"}, True),
        ({"architectures": ["ResNetForImageClassification"], "model_type": "resnet"}, False),
        ([], False),
    ],
)
def test_a_timm_folder_is_told_by_its_config(tmp_path: Path, config: Any, is_timm: bool) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert timm_config(tmp_path) == (config if is_timm else None)


def test_a_folder_without_a_readable_config_is_none(tmp_path: Path) -> None:
    assert timm_config(tmp_path) is None
    (tmp_path / "config.json").write_text("{")
    assert timm_config(tmp_path) is None


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights; put model\.safetensors or pytorch_model\.bin"):
        timm_weights(tmp_path)
    for name in ("pytorch_model.bin", "model.safetensors"):
        (tmp_path / name).touch()
        assert timm_weights(tmp_path).name == name


def test_labels_are_those_that_the_config_names() -> None:
    assert timm_labels({"label_names": ["cat", "dog"]}) == ("cat", "dog")
    assert timm_labels({"architecture": "resnet18"}) is None


@pytest.mark.parametrize(
    "name",
    ["resnet18", "tv_resnet50", "gluon_resnet50_v1b", "wide_resnet50_2", "resnext101_64x4d", "ig_resnext101_32x8d"],
)
def test_plain_architectures(name: str) -> None:
    require_plain({"architecture": name, "model_args": {"in_chans": 1}, "global_pool": "avg"}, Path("timm"))


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"architecture": "resnetblur50"}, r"the architecture is 'resnetblur50'"),
        ({"architecture": "resnet50d"}, r"'resnet50d'; bring one of the architectures resnet18 to resnet152"),
        (
            {"architecture": "resnet18", "model_args": {"act_layer": "silu", "in_chans": 1}},
            r"model_args sets act_layer;",
        ),
        ({"architecture": "resnet18", "global_pool": "catavgmax"}, r"global_pool is 'catavgmax'"),
    ],
)
def test_what_no_tensor_tells_is_refused(config: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        require_plain(config, Path("timm"))
