"""Folders that hold no whole model are refused in one sentence with the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optimize.errors import CheckpointError
from optimize.models.checkpoint import FolderCheckpoint, fetch_model
from optimize.models.families import FAMILIES
from optimize.models.image_families import IMAGE_FAMILIES
from optimize.models.intake import require_image_model, require_text_encoder
from optimize.models.torchvision_resnet import TorchvisionResNet, TorchvisionResNetConfig
from tests.encoders import saved_encoder


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        require_text_encoder(folder)
    assert len(str(refused.value).splitlines()) == 1
    return str(refused.value)


def test_a_whole_folder_is_taken(tmp_path: Path) -> None:
    require_text_encoder(saved_encoder("electra", tmp_path))


def test_an_architecture_that_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    assert refusal(tmp_path) == (
        f"checkpoint {tmp_path} is of the architecture 'llama', and a recipe for text takes "
        f"{', '.join(sorted(FAMILIES))}; name another checkpoint"
    )


def test_an_empty_folder_and_one_of_other_files(tmp_path: Path) -> None:
    assert "is not a Hugging Face folder (no config.json; it is empty)" in refusal(tmp_path)
    for name in ("a.txt", "b.txt", "c.txt", "d.txt", "e.txt"):
        (tmp_path / name).touch()
    assert "it has a.txt, b.txt, c.txt, d.txt and more); save the model there" in refusal(tmp_path)
    assert "is a file; give the folder" in refusal(tmp_path / "a.txt")


def test_a_config_of_another_library_and_half_a_config(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"architecture": "resnet18"}')
    assert "names no model_type" in refusal(tmp_path)
    path.write_text('{"architecture": "resn')
    assert "is not whole JSON; copy or download it again" in refusal(tmp_path)


def test_a_pointer_in_place_of_the_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "config.json is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`" in refusal(tmp_path)


def test_a_folder_of_an_image_model(tmp_path: Path) -> None:
    TorchvisionResNet(TorchvisionResNetConfig(depths=(1, 1), widths=(4, 8))).save_pretrained(tmp_path)
    require_image_model(tmp_path)
    with pytest.raises(CheckpointError, match="of the architecture 'torchvision_resnet', and a recipe for text"):
        require_text_encoder(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:900])
    with pytest.raises(CheckpointError, match="is not a whole safetensors file"):
        require_image_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(
        CheckpointError, match=f"'bert', and a recipe for image takes {', '.join(sorted(IMAGE_FAMILIES))}"
    ):
        require_image_model(tmp_path)


@pytest.mark.parametrize(
    ("config", "says"), [("{}", "names no model_type"), ('{"model_type": "vit"}', "the architecture 'vit'")]
)
def test_no_error_lists_all_architectures(config: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)
    for task in ("text", "image"):
        with pytest.raises(CheckpointError, match=says) as caught:
            fetch_model(FolderCheckpoint(source="folder", path=tmp_path), task, ("a", "b"), tmp_path, fresh_head=True)
        assert len(str(caught.value)) < 400
