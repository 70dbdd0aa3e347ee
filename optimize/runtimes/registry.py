"""The runtimes that are measured, ONNX Runtime on the CPU first: all others are held against it."""

from __future__ import annotations

import onnxruntime

from optimize.runtimes.apache_tvm import ApacheTvm
from optimize.runtimes.candidate import Candidate
from optimize.runtimes.onnx_runtime import CPU, OnnxRuntime
from optimize.runtimes.open_vino import OpenVino
from optimize.runtimes.torch_script import TorchScript
from serving.model.tensorrt import TENSORRT

# It sends the arrays to a server of Microsoft's.
REMOTE = "AzureExecutionProvider"


def candidates() -> list[Candidate]:
    """ONNX Runtime with each execution provider that its build has, and the other runtimes, TensorRT last."""
    others = [name for name in onnxruntime.get_available_providers() if name not in (CPU, TENSORRT, REMOTE)]
    providers = [OnnxRuntime(name) for name in (CPU, *others)]
    return [*providers, OpenVino(), TorchScript(), ApacheTvm(), OnnxRuntime(TENSORRT)]
