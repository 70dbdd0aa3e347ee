"""TorchScript, traced from the checkpoint that a graph was exported from: an ONNX file alone holds no PyTorch module.

The checkpoint is float32, so beside an INT8 graph its logits differ by what quantizing changed.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optimize.runtimes.candidate import Candidate, EachShape, Run, Subject, shape_of
from serving.arrays import Array, Logits


@dataclass(frozen=True)
class TorchScript(Candidate):
    """A frozen trace for each shape, below `traces` once they are made."""

    traces: Path | None = None

    @property
    def name(self) -> str:
        return "TorchScript, fp32"

    def missing(self, subject: Subject) -> str | None:
        if subject.checkpoint is None:
            return f"cannot be made from an ONNX file alone, and {subject.no_checkpoint}"
        return None

    def version(self) -> str:
        return importlib.metadata.version("torch")

    def prepared(self, subject: Subject, inputs: Sequence[Mapping[str, Array]], folder: Path) -> TorchScript:
        import torch

        from optimize.models.graphs import quiet
        from optimize.models.saved import load_model

        assert subject.checkpoint is not None, "`missing` says that there is none"
        model = load_model(subject.checkpoint, subject.task)

        class OnlyLogits(torch.nn.Module):
            def __init__(self, names: Sequence[str]) -> None:
                super().__init__()
                self.model, self.names = model, names

            def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
                logits: torch.Tensor = self.model(**dict(zip(self.names, tensors, strict=True))).logits
                return logits

        for arrays in {shape_of(each): each for each in inputs}.values():
            tensors = [torch.from_numpy(array) for array in arrays.values()]
            with quiet(), torch.inference_mode():
                whole = OnlyLogits(list(arrays)).eval()
                traced = torch.jit.trace(whole, tensors, check_trace=False)  # type: ignore[no-untyped-call]  # PyTorch has no types for it
                torch.jit.freeze(traced).save(folder / f"{shape_of(arrays)}.pt")
        return replace(self, traces=folder)

    def load(self, subject: Subject, threads: int) -> Run:
        import torch

        torch.set_num_threads(threads)
        assert self.traces is not None, "`prepared` makes them"
        folder = self.traces

        def opened(arrays: Mapping[str, Array]) -> Run:
            path = folder / f"{shape_of(arrays)}.pt"
            traced = torch.jit.load(path)  # type: ignore[no-untyped-call]  # PyTorch has no types for it

            def run(arrays: Mapping[str, Array]) -> Logits:
                with torch.inference_mode():
                    return np.array(traced(*(torch.from_numpy(array) for array in arrays.values())).numpy())

            return run

        return EachShape(opened)
