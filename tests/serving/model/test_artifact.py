from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from pydantic import ValidationError

from serving.errors import ArtifactError
from serving.model.artifact import Artifact, Manifest, Variant, sha256_of, write_json
from tests.conftest import TinyCascades
from tests.made import make_artifact

GRAPH = "cpu-fp32/model.onnx"


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


def change(folder: Path, edit: Callable[[Any], object]) -> None:
    """Change the manifest of an artifact by hand."""
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest)
    write_json(folder / "manifest.json", manifest)


@pytest.mark.parametrize("number", [1, 99])
def test_a_manifest_of_another_version_is_refused(folder: Path, number: int) -> None:
    change(folder, lambda manifest: manifest.update(format=number))
    with pytest.raises(
        ArtifactError, match="made by another version of Sieve: make and publish the artifact anew with"
    ):
        Artifact.open(folder)


def lead_to(path: str) -> Callable[[Any], object]:
    """Let a variant read another file, which the manifest lists."""

    def edit(manifest: Any) -> None:
        manifest["variants"]["cpu-fp32"]["file"] = path
        manifest["files"][path] = manifest["files"].pop(GRAPH)

    return edit


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (
            lead_to("../../elsewhere.onnx"),
            "variants.cpu-fp32.file: must be a relative path inside the artifact's folder",
        ),
        (lead_to("/elsewhere.onnx"), "variants.cpu-fp32.file: must be a relative path"),
        (lead_to("cpu-fp32/../../elsewhere.onnx"), "variants.cpu-fp32.file: must be a relative path"),
        (lead_to(""), "variants.cpu-fp32.file: must be a relative path"),
        (lambda m: m["settings"].update(tokenizer="../tokenizer.json"), "settings.text.tokenizer: must be a relative"),
        (lambda m: m["files"].update({"../secret": "0" * 64}), "files.*: must be a relative path"),
        (lambda m: m["files"].pop(GRAPH), "files must list the file of variant cpu-fp32, with the variant's sha256"),
        (lambda m: m["files"].update({GRAPH: "0" * 64}), "files must list the file of variant cpu-fp32"),
        (lambda m: m["files"].pop("tokenizer.json"), "files must list the tokenizer"),
        (lambda m: m["files"].update({GRAPH: "none"}), "files.cpu-fp32/model.onnx: String should match pattern"),
        (lambda m: m["variants"].pop(m["default_cpu"]), "default_cpu must be one of variants"),
        (lambda m: m.update(default_gpu="cpu-fp32"), "default_gpu must be .* for CUDAExecutionProvider"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(folder: Path, edit: Callable[[Any], object], says: str) -> None:
    shutil.copy(folder / GRAPH, folder.parent / "elsewhere.onnx")
    change(folder, edit)
    with pytest.raises(ArtifactError, match=f"{says}.*; the manifest was changed or damaged: make and publish .* anew"):
        Artifact.open(folder)


def test_a_link_out_of_the_folder_is_refused_and_one_inside_is_not(folder: Path) -> None:
    graph = folder / GRAPH
    graph.rename(folder / "graph.onnx")
    graph.symlink_to("../graph.onnx")
    Artifact.open(folder)
    (folder / "graph.onnx").rename(folder.parent / "graph.onnx")
    graph.unlink()
    graph.symlink_to("../../graph.onnx")
    with pytest.raises(ArtifactError, match="a symbolic link that leads out of it; put the file itself there"):
        Artifact.open(folder)
    graph.unlink()
    graph.parent.rmdir()
    (folder.parent / "graph.onnx").rename(folder.parent / "model.onnx")
    graph.parent.symlink_to(folder.parent)
    with pytest.raises(ArtifactError, match="a symbolic link that leads out"):
        Artifact.open(folder)


def test_an_artifact_opens_through_a_link_to_its_folder(folder: Path) -> None:
    (folder.parent / "link").symlink_to(folder)
    assert Artifact.open(folder.parent / "link").digest == Artifact.open(folder).digest


@pytest.mark.parametrize("name", ["model.onnx.data", "weights" * 25], ids=["short", "longer than 127 bytes"])
def test_weights_in_another_file_must_be_listed(folder: Path, name: str) -> None:
    model = onnx.load(folder / GRAPH)
    onnx.save(model, folder / GRAPH, save_as_external_data=True, location=name, size_threshold=0)
    digest = sha256_of(folder / GRAPH)
    change(folder, lambda m: (m["files"].update({GRAPH: digest}), m["variants"]["cpu-fp32"].update(sha256=digest)))
    with pytest.raises(ArtifactError, match=r"every file beside a graph must be one of files in manifest\.json"):
        Artifact.open(folder)
    beside = f"cpu-fp32/{name}"
    change(folder, lambda m: m["files"].update({beside: sha256_of(folder / beside)}))
    before = Artifact.open(folder).digest
    (folder / beside).write_bytes((folder / beside).read_bytes() + b" ")
    with pytest.raises(ArtifactError, match="its sha256 is not the one"):
        Artifact.open(folder)
    change(folder, lambda m: m["files"].update({beside: sha256_of(folder / beside)}))
    assert Artifact.open(folder).digest != before


def test_the_digest_says_which_file_is_which_variant(folder: Path) -> None:
    manifest = Artifact.open(folder).manifest
    fields: dict[str, Any] = manifest.model_dump(mode="json")
    fp32, int8 = fields["variants"]["cpu-fp32"], fields["variants"]["cpu-int8"]

    def digest(**variants: Any) -> str:
        return Manifest.model_validate({**fields, "variants": variants}).digest

    digests = [
        manifest.digest,
        digest(**{"cpu-fp32": int8, "cpu-int8": fp32}),
        digest(**{"cpu-fp32": {**fp32, "precision": "int8"}, "cpu-int8": int8}),
        digest(**{"cpu-fp32": fp32, "cpu-int8": int8, "gpu-fp16": {**fp32, "provider": "CUDAExecutionProvider"}}),
    ]
    assert len(set(digests)) == len(digests)
    assert digest(**{"cpu-fp32": {**fp32, "size_bytes": 1}, "cpu-int8": int8}) == manifest.digest


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"long_texts": "tail"}, "settings.text.long_texts: Input should be 'cut' or 'windows'"),
        ({"watched_label": 0}, 'watched_label needs long_texts = "windows", got "cut"'),
        ({"watched_label": 99, "long_texts": "windows"}, "watched_label must be the index of one of 6 labels, got 99"),
    ],
)
def test_settings_of_long_texts_that_cannot_be_are_refused(
    folder: Path, settings: dict[str, object], says: str
) -> None:
    change(folder, lambda manifest: manifest["settings"].update(settings))
    with pytest.raises(ArtifactError, match=says):
        Artifact.open(folder)


def test_what_becomes_of_long_texts_is_part_of_the_digest(folder: Path) -> None:
    manifest = Artifact.open(folder).manifest
    windows = manifest.settings.model_copy(update={"long_texts": "windows"})
    watching = windows.model_copy(update={"watched_label": 1})
    digests = {manifest.model_copy(update={"settings": each}).digest for each in (manifest.settings, windows, watching)}
    assert len(digests) == 3


def test_json_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "value.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_variant_in_onnxruntime_is_described_as_it_was_before_there_was_a_choice(tmp_path: Path) -> None:
    artifact = make_artifact(tmp_path / "made", ["cpu-fp32", "cpu-fp32-openvino"])
    plain, other = (artifact.manifest.variants[name] for name in ("cpu-fp32", "cpu-fp32-openvino"))
    assert "runtime" not in plain.model_dump()
    assert other.model_dump()["runtime"] == "openvino"
    changed = artifact.manifest.model_copy(update={"variants": {"cpu-fp32": plain, "cpu-fp32-openvino": plain}})
    assert changed.digest != artifact.digest


def test_openvino_is_for_cpus() -> None:
    described = {"file": "a/model.onnx", "precision": "fp16", "sha256": "0" * 64, "size_bytes": 1}
    with pytest.raises(ValidationError, match='runtime "openvino" is for CPUExecutionProvider, got CUDAExecution'):
        Variant.model_validate({**described, "provider": "CUDAExecutionProvider", "runtime": "openvino"})
