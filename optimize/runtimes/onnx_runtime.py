"""ONNX Runtime with each of its execution providers: on the CPU, on an NVIDIA GPU, and through TensorRT there."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from optimize.errors import RuntimesError
from optimize.runtimes.candidate import Candidate, Run, Subject
from serving.arrays import Array, Logits
from serving.model.tensorrt import MISSING, TENSORRT, tensorrt_found

CPU, CUDA = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA"))
NVIDIA = (CUDA, TENSORRT)
NO_GPU = "needs an NVIDIA GPU, and there is none here"


@dataclass(frozen=True)
class OnnxRuntime(Candidate):
    """ONNX Runtime, with the operators that `provider` takes on that provider, and all others on the CPU."""

    provider: str = CPU

    @property
    def name(self) -> str:
        if self.provider == TENSORRT:
            return "TensorRT"
        short = self.provider.removesuffix("ExecutionProvider")
        return "ONNX Runtime" if self.provider == CPU else f"ONNX Runtime, {short}"

    def missing(self, subject: Subject) -> str | None:
        from serving.model.device import gpu_present

        if self.provider in NVIDIA and not gpu_present():
            return NO_GPU
        return MISSING if self.provider == TENSORRT and not tensorrt_found() else None

    def version(self) -> str:
        import onnxruntime

        if self.provider == TENSORRT:
            return f"{importlib.metadata.version('tensorrt-cu13')}, in ONNX Runtime {onnxruntime.__version__}"
        return str(onnxruntime.__version__)

    def load(self, subject: Subject, threads: int) -> Run:
        import onnxruntime

        from serving.model.open_session import open_session

        if self.provider in NVIDIA:
            onnxruntime.preload_dlls()
        session = open_session(subject.graph, self.provider, threads)  # type: ignore[arg-type]  # any that the build has
        got = session.get_providers()[0]
        if got != self.provider:
            raise RuntimesError(f"asked for {self.provider} and got {got}; see whether its libraries can be loaded")

        def run(arrays: Mapping[str, Array]) -> Logits:
            return np.asarray(session.run(["logits"], dict(arrays))[0], dtype=np.float32)

        return run
