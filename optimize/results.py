"""What a step wrote, and under which key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from serving.model.artifact import Provider

Role = Literal["teacher", "expert", "screen"]
Precision = Literal["fp32", "int8", "fp16"]
ROLES: tuple[Literal["expert", "screen"], ...] = ("expert", "screen")


@dataclass(frozen=True, slots=True)
class Result:
    """What one step wrote: a checkpoint folder or an ONNX file, under a key that says what went into it."""

    role: Role
    step: str
    path: Path
    key: str
    precision: Precision = "fp32"

    @property
    def name(self) -> str:
        return f"{self.role}/{self.step}"

    @property
    def is_graph(self) -> bool:
        return self.path.suffix == ".onnx"

    @property
    def provider(self) -> Provider:
        """Where the graph is meant to run."""
        return "CUDAExecutionProvider" if self.precision == "fp16" else "CPUExecutionProvider"

    @property
    def size_bytes(self) -> int:
        return (self.path if self.is_graph else self.path / "model.safetensors").stat().st_size
