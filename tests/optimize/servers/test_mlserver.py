"""model-settings.json of a graph. tests/servers asks a real MLServer with it."""

from __future__ import annotations

from pathlib import Path

from optimize.servers.mlserver import RUNTIME, mlserver_files, model_settings
from tests.optimize.servers.test_graph import graph_of


def test_the_folder_has_settings_graph_and_runtime(tmp_path: Path) -> None:
    files = mlserver_files(graph_of(tmp_path))
    assert set(files) == {"model-settings.json", "model.onnx", "onnx_model.py"}
    assert RUNTIME.is_file()


def test_its_settings_name_tensors_version_and_digest(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    said = model_settings(graph)
    assert (said["name"], said["implementation"]) == ("tiny-expert", "onnx_model.OnnxModel")
    assert said["inputs"] == [
        {"name": name, "datatype": "INT64", "shape": [-1, -1]} for name in ("input_ids", "attention_mask")
    ]
    assert said["outputs"] == [{"name": "logits", "datatype": "FP32", "shape": [-1, 3]}]
    assert said["versions"] == [said["parameters"]["version"]] == ["1231"]
    extra = said["parameters"]["extra"]
    assert (extra["digest"], extra["variant"], extra["provider"]) == (graph.digest, "cpu-fp32", "CPUExecutionProvider")
    assert extra["warm_up"] == [[1, 8], [32, 8]]
