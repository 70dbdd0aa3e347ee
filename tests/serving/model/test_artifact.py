from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from serving.errors import ArtifactError
from serving.model.artifact import Artifact, write_json
from tests.conftest import TinyCascades


@pytest.fixture
def folder(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_cascades.artifact("tiny-text", "screen"), tmp_path / "copy"))


def test_an_artifact_opens_and_its_digest_survives_a_copy(folder: Path, tiny_cascades: TinyCascades) -> None:
    original = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    assert Artifact.open(folder).digest == original.digest
    assert original.variant_path(original.manifest.default_cpu).is_file()


def test_a_changed_byte_is_found(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="its sha256 is not the one"):
        Artifact.open(folder)


def test_a_missing_file_is_found(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ArtifactError, match="it is not there"):
        Artifact.open(folder)


def test_no_manifest_and_an_unknown_variant_say_what_to_do(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="python -m optimize run"):
        Artifact.open(tmp_path)
    with pytest.raises(ArtifactError, match="has no variant 'gpu-fp16'; it has cpu-"):
        Artifact.open(folder).variant_path("gpu-fp16")


def test_a_manifest_of_another_version_is_refused(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["format"] = 99
    write_json(folder / "manifest.json", manifest)
    with pytest.raises(ArtifactError, match="another version"):
        Artifact.open(folder)


def test_json_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}
