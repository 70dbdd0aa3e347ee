"""A model of Triton's repository: config.pbtxt, and the ONNX file in the folder of its version."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from optimize.servers.graph import Graph
from serving.expert.graph_form import TensorForm
from serving.model.runner import MAX_ROWS

# A batch is not waited for: the service sends its escalations in batches of its own. A call says how long anybody waits
# for it, and one whose time is over is not run.
BATCHING = """\
dynamic_batching {
  max_queue_delay_microseconds: 0
  default_queue_policy { timeout_action: REJECT allow_timeout_override: true }
}
"""
# Dynamic INT8 takes its ranges from the whole batch, so an answer would depend on the company of an item.
ALONE = "# No dynamic batching: items run alone, since an answer would depend on the others of its batch.\n"


def triton_files(graph: Graph) -> Mapping[str, str | Path]:
    """What the model's folder holds, by the path inside it."""
    return {"config.pbtxt": config(graph), f"{graph.version}/model.onnx": graph.path}


def config(graph: Graph) -> str:
    """config.pbtxt of a graph: protobuf's text format of Triton's ModelConfig."""
    inputs = "".join(f"input {{ {_tensor(form)} }}\n" for form in graph.inputs)
    parameters = {"digest": graph.digest, "variant": graph.name, "intra_op_thread_count": "1"}
    return (
        f'name: "{graph.model}"\n'
        'platform: "onnxruntime_onnx"\n'
        f"max_batch_size: {MAX_ROWS}\n"
        f"{inputs}"
        f"output {{ {_tensor(graph.output)} }}\n"
        "# The number of the folder says artifact and variant. Folders of other versions may stand beside it.\n"
        "version_policy { all { } }\n"
        f"instance_group {{ count: 1 kind: {'KIND_GPU' if graph.on_gpu else 'KIND_CPU'} }}\n"
        f"{ALONE if graph.variant.alone else BATCHING}"
        f"{''.join(_warm_up(graph, size, shape) for size, shape in graph.warm_up_shapes())}"
        + "".join(
            f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'
            for name, value in parameters.items()
        )
    )


def _tensor(form: TensorForm) -> str:
    """Triton counts the items of a batch by itself, so the shape is that of one item."""
    dims = ", ".join(map(str, form.shape[1:]))
    return f'name: "{form.name}" data_type: TYPE_{form.datatype} dims: [ {dims} ]'


def _warm_up(graph: Graph, size: int, shape: tuple[int, ...]) -> str:
    dims = ", ".join(map(str, shape))
    given = f"dims: [ {dims} ] zero_data: true"
    inputs = "".join(
        f'  inputs {{ key: "{form.name}" value {{ data_type: TYPE_{form.datatype} {given} }} }}\n'
        for form in graph.inputs
    )
    return f'model_warmup {{\n  name: "{size} of {dims}"\n  batch_size: {size}\n{inputs}}}\n'
