"""config.pbtxt, as Triton's own message reads it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig, ModelInstanceGroup, ModelQueuePolicy

from optimize.servers.triton import config, triton_files
from tests.optimize.servers.test_graph import graph_of


def parsed(text: str) -> Any:
    return text_format.Parse(text, ModelConfig())


def test_the_folder_has_the_configuration_and_the_graph_under_its_version(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    assert triton_files(graph) == {"config.pbtxt": config(graph), "1231/model.onnx": graph.path}


def test_it_takes_what_the_graph_takes(tmp_path: Path) -> None:
    said = parsed(config(graph_of(tmp_path / "text")))
    assert (said.name, said.platform, said.max_batch_size) == ("tiny-expert", "onnxruntime_onnx", 32)
    inputs = [(each.name, each.data_type, list(each.dims)) for each in said.input]
    int64, fp32 = 9, 11  # in DataType
    assert inputs == [("input_ids", int64, [-1]), ("attention_mask", int64, [-1])]
    assert [(each.name, each.data_type, list(each.dims)) for each in said.output] == [("logits", fp32, [3])]
    (image,) = parsed(config(graph_of(tmp_path / "image", "image"))).input
    assert (image.name, image.data_type, list(image.dims)) == ("pixel_values", fp32, [3, 4, 4])


@pytest.mark.parametrize("alone", [False, True], ids=["together", "alone"])
def test_items_that_run_alone_are_not_batched(tmp_path: Path, alone: bool) -> None:
    said = parsed(config(graph_of(tmp_path, alone=alone)))
    assert said.HasField("dynamic_batching") is not alone
    policy = said.dynamic_batching.default_queue_policy
    if not alone:
        assert policy.allow_timeout_override
        assert policy.timeout_action == ModelQueuePolicy.TimeoutAction.REJECT


def test_it_is_warmed_up_and_says_which_artifact_it_is(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    said = parsed(config(graph))
    assert [(each.batch_size, sorted(each.inputs)) for each in said.model_warmup] == [
        (1, ["attention_mask", "input_ids"]),
        (32, ["attention_mask", "input_ids"]),
    ]
    assert all(list(given.dims) == [8] for each in said.model_warmup for given in each.inputs.values())
    assert {name: value.string_value for name, value in said.parameters.items()} == {
        "digest": graph.digest,
        "variant": "cpu-fp32",
        "intra_op_thread_count": "1",
    }
    assert said.version_policy.HasField("all")


@pytest.mark.parametrize("device", ["CPU", "CUDA"])
def test_its_instance_is_where_the_variant_runs(tmp_path: Path, device: str) -> None:
    graph = graph_of(tmp_path)
    variant = graph.variant.model_copy(update={"provider": f"{device}ExecutionProvider"})
    (group,) = parsed(config(replace(graph, variant=variant))).instance_group
    kinds = ModelInstanceGroup.Kind
    assert group.kind == (kinds.KIND_GPU if device == "CUDA" else kinds.KIND_CPU)
