"""A checkpoint as a user names it: a folder, a file, a package or an id of the hub; and what it turns out to be."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from transformers import PretrainedConfig, PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.checkpoint import CheckpointConfig, source_path
from optimize.models.families import FAMILIES, positions
from optimize.models.saved import Task

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

    @property
    def title(self) -> str:
        """Its family and shape in words."""
        config = self.config
        if self.task == "image":
            return f"a ResNet with {'-'.join(map(str, config.depths))} blocks"
        family = FAMILIES[config.model_type].title.partition(",")[0]
        return f"a {family} with {config.num_hidden_layers} layers of width {config.hidden_size}"


def checkpoint_table(name: str) -> dict[str, Any]:
    """The table [checkpoint] for what a user names: an existing path, an installed package, or an id of the hub.

    A model of the hub is downloaded, so that its revision is known. Raises CheckpointError when it is none of these.
    """
    path = Path(name).expanduser()
    if path.exists() and path.suffix == ".onnx":
        raise CheckpointError(
            f"checkpoint {name} is an ONNX file, and a recipe is written for checkpoints in PyTorch; write one by hand "
            'with source = "onnx" in [checkpoint], as docs/models.md shows'
        )
    if path.exists():
        return {"source": "folder" if path.is_dir() else "state-dict", "path": name}
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


def found_in(table: Mapping[str, Any], task: Task, model: PreTrainedModel) -> Found:
    """What is known of a checkpoint once its model is loaded."""
    return Found(
        table=table,
        task=task,
        config=model.config,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        positions=positions(model.config) if task == "text" else 0,
    )


def config_of(table: Mapping[str, Any]) -> CheckpointConfig:
    """The table as a recipe reads it."""
    config: CheckpointConfig = TypeAdapter(CheckpointConfig).validate_python(table)
    return config
