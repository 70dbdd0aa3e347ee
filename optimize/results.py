"""What a step wrote, and the keys that tell equal results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from serving.model.artifact import Provider, Runtime, sha256_of
from serving.model.runtimes import RUNTIMES

Role = Literal["teacher", "expert", "screen"]
Stage = Literal["expert", "screen"]
Precision = Literal["fp32", "int8", "fp16", "bf16"]
ON_GPU: tuple[Precision, ...] = ("fp16", "bf16")
"""What a graph for a GPU computes in."""
GRAPH_FILE = "model.onnx"
"""The graph of a checkpoint folder that has one in the place of weights."""
STAGES: tuple[Stage, ...] = ("expert", "screen")


@dataclass(frozen=True, slots=True)
class Result:
    """A checkpoint folder or an ONNX file that one step wrote; equal keys mean equal configuration and input.

    The folder of a ready graph holds an ONNX file in the place of weights.
    """

    role: Role
    step: str
    path: Path
    key: str
    precision: Precision = "fp32"
    inputs: Path | None = None
    """The checkpoint whose tokeniser prepares its texts; None for the teacher's, which students made of it share."""
    runtime: Runtime = "onnxruntime"
    """What computes a graph; a graph that two runtimes compute is two results, which are judged apart."""

    @property
    def name(self) -> str:
        return f"{self.role}/{self.step}" + ("" if self.runtime == "onnxruntime" else f"-{self.runtime}")

    @property
    def is_graph(self) -> bool:
        return self.path.suffix == ".onnx"

    @property
    def graph(self) -> Path | None:
        """The ONNX file: the result itself, or that of a ready graph's folder; None for a checkpoint in PyTorch."""
        if self.is_graph:
            return self.path
        return self.path / GRAPH_FILE if (self.path / GRAPH_FILE).is_file() else None

    @property
    def computed_in(self) -> str:
        """What computes the result's logits, by its name."""
        return "PyTorch" if self.graph is None else RUNTIMES[self.runtime]

    @property
    def provider(self) -> Provider:
        """The execution provider that the graph is meant for."""
        return "CUDAExecutionProvider" if self.precision in ON_GPU else "CPUExecutionProvider"

    @property
    def size_bytes(self) -> int:
        """Size of the ONNX file, or of a checkpoint's weights."""
        return (self.graph or self.path / "model.safetensors").stat().st_size


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def digest_below(path: Path) -> str:
    """sha256 over the names and contents of a file, or of all files below a folder."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return digest_of([[file.relative_to(path.parent).as_posix(), sha256_of(file)] for file in files])
