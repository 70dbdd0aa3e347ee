"""A checkpoint as a user names it: a folder, a file, a package or an id of the hub; and what it turns out to be."""

from __future__ import annotations

import importlib.util
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from transformers import PretrainedConfig, PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.checkpoint import CheckpointConfig, source_path
from optimize.models.families import FAMILIES, family_of, positions
from optimize.models.graph_model import GraphModel
from optimize.models.saved import Task
from optimize.start.choosing import MOST_TOKENS

HUB_ID = re.compile(r"(?P<id>[\w.-]+(/[\w.-]+)?)(@(?P<revision>[\w./-]+))?")
FILES = {".pt", ".pth", ".bin", ".safetensors", ".th", ".onnx"}
"""Suffixes that no id of the hub has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a checkpoint turned out to be. `table`: [checkpoint] as values. `positions`: those of a text encoder."""

    table: Mapping[str, Any]
    task: Task
    config: PretrainedConfig
    parameters: int
    positions: int
    graph: GraphModel | None = None
    """A ready graph, in which nothing can be trained."""

    @property
    def brought(self) -> PretrainedConfig | GraphModel:
        """What says whether a step can work on it."""
        return self.graph or self.config

    @property
    def width(self) -> int | None:
        """The width of a text encoder; None for a ResNet."""
        return int(self.config.hidden_size) if self.task == "text" else None

    @property
    def title(self) -> str:
        """Its family and shape in words."""
        config = self.config
        if self.graph is not None:
            return f"a ready ONNX graph in {self.graph.precision}"
        if self.task == "image":
            return f"a ResNet with {'-'.join(map(str, config.depths))} blocks"
        family = FAMILIES[config.model_type].title.partition(",")[0]
        return f"a {family} with {config.num_hidden_layers} layers of width {config.hidden_size}"


def checkpoint_table(name: str) -> dict[str, Any]:
    """The table [checkpoint] for what a user names: an existing path, an installed package, or an id of the hub.

    A model of the hub is downloaded, so that its revision is known. Raises CheckpointError when it is none of these.
    """
    path = Path(name).expanduser()
    if path.exists():
        return {"source": _source(path), "path": name}
    package = name.replace("-", "_")
    if package.isidentifier() and importlib.util.find_spec(package) is not None:
        return {"source": "package", "package": package}
    hub = HUB_ID.fullmatch(name)
    if hub is None or name.startswith(("/", "./", "../", "~")) or path.suffix in FILES:
        raise CheckpointError(
            f"checkpoint {name}: there is no such file or folder; write the path as it is seen from the current folder"
        )
    table = {"source": "hub", "id": hub["id"], "revision": hub["revision"] or "main"}
    folder = source_path(config_of(table), Path())
    assert folder is not None, "a model of the hub is downloaded"
    # A snapshot lies in a folder that is named after its commit, which does not move as a branch does.
    return table | {"revision": folder.name if hub["revision"] is None else hub["revision"]}


def _source(path: Path) -> str:
    """The kind of checkpoint at a path. A folder with weights is taken for these, though a graph may lie beside."""
    if path.is_file():
        return "onnx" if path.suffix == ".onnx" else "state-dict"
    suffixes = {file.suffix for file in path.iterdir()}
    return "onnx" if ".onnx" in suffixes and suffixes.isdisjoint(FILES - {".onnx"}) else "folder"


def found_in(table: Mapping[str, Any], task: Task, model: PreTrainedModel) -> Found:
    """What is known of a checkpoint once its model is loaded."""
    graph = model if isinstance(model, GraphModel) else None
    sizes = (math.prod(tensor.dims) for tensor in graph.graph.graph.initializer) if graph else _sizes(model)
    return Found(
        table=table,
        task=task,
        config=model.config,
        parameters=sum(sizes),
        positions=positions_of(model.config) if task == "text" else 0,
        graph=graph,
    )


def positions_of(config: PretrainedConfig) -> int:
    """The positions that a text encoder knows; of one that is none of ours, as a ready graph may be, those of most."""
    return MOST_TOKENS if family_of(config) is None else positions(config)


def _sizes(model: PreTrainedModel) -> Iterator[int]:
    return (parameter.numel() for parameter in model.parameters())


def config_of(table: Mapping[str, Any]) -> CheckpointConfig:
    """The table as a recipe reads it."""
    config: CheckpointConfig = TypeAdapter(CheckpointConfig).validate_python(table)
    return config
