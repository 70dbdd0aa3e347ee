"""A model's folder: whole, the same twice, and never over something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimize.errors import ExportError
from optimize.servers import export as exporting
from optimize.servers.export import export, write_whole
from serving.cascade.modality import StoredCascade
from serving.expert.graph_form import version_of
from tests.optimize.score.tiny_models import tiny_cascade


@pytest.fixture
def cascade(tmp_path: Path) -> StoredCascade:
    return tiny_cascade(tmp_path / "cascade")


@pytest.mark.parametrize("server", exporting.FILES)
def test_it_is_written_once_and_found_the_second_time(cascade: StoredCascade, tmp_path: Path, server: Any) -> None:
    first = export(cascade, "tiny", tmp_path / "models", server)
    artifact = cascade.expert.artifact
    assert (first.variant, first.kind) == ("cpu-fp32", "text")
    assert first.version == version_of(artifact.digest, "cpu-fp32")
    assert first.folder == tmp_path / "models" / "tiny-expert"
    (graph,) = first.folder.rglob("model.onnx")
    assert graph.read_bytes() == artifact.variant_path("cpu-fp32").read_bytes()
    assert all(url.endswith("/tiny-expert") for url in first.urls)
    (first.folder / "__pycache__").mkdir()
    (first.folder / "__pycache__" / "onnx_model.pyc").touch()  # a server has imported the runtime
    assert export(cascade, "tiny", tmp_path / "models", server) == first
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny-expert"]


@pytest.mark.parametrize("server", exporting.FILES)
def test_a_folder_with_something_else_is_left_as_it_is(cascade: StoredCascade, tmp_path: Path, server: Any) -> None:
    folder = tmp_path / "models" / "tiny-expert"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("keep me")
    with pytest.raises(ExportError, match="got something else in it; remove it, or export into another folder"):
        export(cascade, "tiny", tmp_path / "models", server)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_another_artifact_is_something_else(cascade: StoredCascade, tmp_path: Path) -> None:
    export(cascade, "tiny", tmp_path / "models", "triton")
    other = tiny_cascade(tmp_path / "other", settings={"max_tokens": 9})
    with pytest.raises(ExportError, match="something else"):
        export(other, "tiny", tmp_path / "models", "triton")


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "model", {"one.txt": "1", "model.onnx": tmp_path / "nowhere"})
    assert list(tmp_path.iterdir()) == []


def test_a_variant_must_be_there_and_run_in_onnx_runtime(cascade: StoredCascade, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="tiny-expert has no variant cpu-int8; choose one of cpu-fp32"):
        export(cascade, "tiny", tmp_path, "triton", "cpu-int8")
    artifact = cascade.expert.artifact
    variant = artifact.manifest.variants["cpu-fp32"].model_copy(update={"runtime": "openvino"})
    changed = artifact.manifest.model_copy(update={"variants": {"cpu-fp32": variant}})
    artifact.manifest = changed
    with pytest.raises(ExportError, match="runs in OpenVINO"):
        export(cascade, "tiny", tmp_path / "models", "triton")
    assert not (tmp_path / "models").exists()


def test_the_settings_of_mlserver_are_json(cascade: StoredCascade, tmp_path: Path) -> None:
    folder = export(cascade, "tiny", tmp_path / "models", "mlserver").folder
    assert json.loads((folder / "model-settings.json").read_text())["name"] == "tiny-expert"
