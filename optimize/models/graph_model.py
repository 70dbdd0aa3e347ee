"""A ready ONNX graph as a checkpoint: a folder with model.onnx in the place of weights, and the model that runs it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime import InferenceSession
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from optimize.models.families import FAMILIES
from optimize.models.graphs import range_of_batch, save_graph
from optimize.models.image_families import IMAGE_FAMILIES
from optimize.models.onnx_file import precision_of
from optimize.results import GRAPH_FILE, Precision
from serving.arrays import Array
from serving.model.open_session import open_session

CONFIG = "config.json"


class GraphModel(PreTrainedModel):  # type: ignore[no-untyped-call]  # its __init_subclass__ has no types
    """A graph that is called as a model of transformers is: with tensors, for logits; it has no hidden states.

    `config` says what is known of the model behind it.
    """

    config_class = PretrainedConfig

    def __init__(self, config: PretrainedConfig, graph: onnx.ModelProto, session: InferenceSession) -> None:
        super().__init__(config)
        self.graph, self.precision = graph, precision_of(graph)
        self.inputs = tuple(value.name for value in graph.graph.input)
        self._session, self._alone = session, range_of_batch(graph)

    def forward(self, output_hidden_states: bool = False, **inputs: Tensor) -> SequenceClassifierOutput:
        arrays = {name: tensor.cpu().numpy() for name, tensor in inputs.items()}
        batches = _single(arrays) if self._alone else [arrays]
        rows = np.concatenate([self._session.run(["logits"], batch)[0] for batch in batches])
        logits: Any = torch.from_numpy(rows).to(next(iter(inputs.values())).device)
        return SequenceClassifierOutput(logits=logits, hidden_states=())

    def save_pretrained(self, save_directory: Any, *_: Any, **__: Any) -> None:
        """Write the graph and its config into a folder, which `load_graph_model` reads."""
        save_directory.mkdir(parents=True)
        save_graph(self.graph, save_directory / GRAPH_FILE)
        self.config.to_json_file(save_directory / CONFIG, use_diff=False)


def _single(arrays: dict[str, Array]) -> list[dict[str, Array]]:
    """The rows of a batch, each alone and without its padding, which would be part of its ranges."""
    rows = range(len(next(iter(arrays.values()))))
    if "attention_mask" not in arrays:
        return [{name: array[row : row + 1] for name, array in arrays.items()} for row in rows]
    lengths = arrays["attention_mask"].sum(axis=1)
    return [{name: array[row : row + 1, : lengths[row]] for name, array in arrays.items()} for row in rows]


def graph_in(folder: Path) -> Path | None:
    """The graph of a checkpoint folder; None where the folder holds weights."""
    return folder / GRAPH_FILE if (folder / GRAPH_FILE).is_file() else None


def inputs_of(path: Path) -> tuple[str, ...]:
    """The names of the inputs of a graph's file, in the order of an artifact."""
    return tuple(value.name for value in onnx.load(path).graph.input)


def opened(path: Path) -> InferenceSession:
    """A session for the file of a graph, with PyTorch's number of threads."""
    return open_session(path, "CPUExecutionProvider", threads=torch.get_num_threads())


def session_of(graph: onnx.ModelProto) -> InferenceSession:
    """A session for a graph that has no file yet. Raises onnx's ValidationError when it is not valid."""
    with TemporaryDirectory() as folder:
        save_graph(graph, Path(folder) / GRAPH_FILE)
        return opened(Path(folder) / GRAPH_FILE)


def load_graph_model(folder: Path) -> GraphModel:
    """The model of a folder that `GraphModel.save_pretrained` wrote."""
    session = opened(folder / GRAPH_FILE)
    return GraphModel(config_in(folder), onnx.load(folder / GRAPH_FILE), session)


def config_in(folder: Path) -> PretrainedConfig:
    """What is known of the model behind a graph that `GraphModel.save_pretrained` wrote."""
    return config_with(json.loads((folder / CONFIG).read_text(encoding="utf-8")))


def config_with(fields: Mapping[str, Any]) -> PretrainedConfig:
    """What transformers' config.json tells; of an architecture that is none of ours only labels and problem."""
    if fields.get("model_type") in {*FAMILIES, *IMAGE_FAMILIES}:
        return AutoConfig.for_model(**fields)
    kept = ("id2label", "label2id", "problem_type", "num_channels")
    return PretrainedConfig(**{name: fields[name] for name in kept if name in fields})


def recorded_precision(folder: Path) -> Precision:
    """The precision of a checkpoint folder: that of its graph, and float32 for weights."""
    graph = graph_in(folder)
    return "fp32" if graph is None else precision_of(onnx.load(graph))
