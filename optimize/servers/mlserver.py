"""A model of MLServer's repository: model-settings.json, the ONNX file, and the runtime that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimize.servers.graph import Graph
from serving.expert.graph_form import TensorForm

RUNTIME = Path(__file__).with_name("onnx_model.py")
"""MLServer has no runtime for ONNX."""


def mlserver_files(graph: Graph) -> Mapping[str, str | Path]:
    """What the model's folder holds, by the path inside it."""
    settings = json.dumps(model_settings(graph), indent=2) + "\n"
    return {"model-settings.json": settings, "model.onnx": graph.path, RUNTIME.name: RUNTIME}


def model_settings(graph: Graph) -> dict[str, Any]:
    """The settings of the model. MLServer's own batches are off: they take no texts of unequal length together."""
    return {
        "name": graph.model,
        "implementation": f"{RUNTIME.stem}.OnnxModel",
        "platform": "onnxruntime_onnx",
        "versions": [graph.version],
        "inputs": [_tensor(form) for form in graph.inputs],
        "outputs": [_tensor(graph.output)],
        "parameters": {
            "uri": "./model.onnx",
            "version": graph.version,
            "extra": {
                "digest": graph.digest,
                "variant": graph.name,
                "provider": graph.variant.provider,
                "warm_up": [[size, *shape] for size, shape in graph.warm_up_shapes()],
            },
        },
    }


def _tensor(form: TensorForm) -> dict[str, Any]:
    return {"name": form.name, "datatype": form.datatype, "shape": list(form.shape)}
