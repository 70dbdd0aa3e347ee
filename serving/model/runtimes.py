"""The runtimes that compute a variant's graph: ONNX Runtime, which every service has, and OpenVINO, which is an extra.

OpenVINO is asked for what ONNX Runtime does: float32 where the graph says float32, no ranges taken from a batch at its
own choice, and so many threads as it is given, which stay on no core.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from serving.arrays import Array, Logits
from serving.errors import ProviderError
from serving.model.artifact import Runtime

Run = Callable[[Mapping[str, Array]], Logits]
"""Arrays named as the graph's inputs -> logits float32 [batch, labels]."""

RUNTIMES: dict[Runtime, str] = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO"}
"""How they are called where people read of them."""
OPENVINO_MISSING = "OpenVINO is not installed; install it with `pip install '.[openvino]'`"


def is_installed(runtime: Runtime) -> bool:
    """Whether this process can import a runtime."""
    return importlib.util.find_spec(runtime) is not None


def require_installed(runtime: Runtime) -> None:
    """Raise ProviderError, which names the command that installs it, for a runtime that is not there."""
    if not is_installed(runtime):
        raise ProviderError(OPENVINO_MISSING)


def openvino_version() -> str:
    """The installed version of OpenVINO, or "none"."""
    return importlib.metadata.version("openvino") if is_installed("openvino") else "none"


def open_openvino(path: Path, threads: int) -> Run:
    """A graph in OpenVINO on the CPU. Raises ProviderError if OpenVINO is not installed or cannot read the graph.

    Nothing of OpenVINO is called that reports usage: that is its converter, and graphs are read as they are.
    """
    require_installed("openvino")
    try:
        compiled = _core().compile_model(
            path,
            "CPU",
            {
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                # Pinned threads of two sessions would share the same cores.
                "ENABLE_CPU_PINNING": False,
                # By default a CPU with AMX computes in bfloat16, which is another model than the one that was judged.
                "INFERENCE_PRECISION_HINT": "f32",
                "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            },
        )
    except RuntimeError as error:
        raise ProviderError(f"OpenVINO cannot read {path.name}: {_reason(error)}; use ONNX Runtime for it") from None
    request, output = compiled.create_infer_request(), compiled.output("logits")
    # A request holds the arrays of one call.
    lock = threading.Lock()

    def run(inputs: Mapping[str, Array]) -> Logits:
        with lock:
            request.infer(dict(inputs), share_inputs=True)
            return np.array(request.get_tensor(output).data, dtype=np.float32)

    return run


@functools.cache
def _core() -> Any:
    """OpenVINO for this process.

    It is never given up. Its part for CPUs gives the thread that first needs it a stack for signals (sigaltstack(2)),
    and unmaps that with the last model, in whatever thread: the next signal then ends the process.
    """
    return importlib.import_module("openvino").Core()


def _reason(error: RuntimeError) -> str:
    """What OpenVINO complains of: the last line, below those that say where in its source it was."""
    lines = [line.strip(" -.") for line in str(error).splitlines()]
    return next((line for line in reversed(lines) if line), type(error).__name__)
