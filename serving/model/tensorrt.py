"""TensorRT, in ONNX Runtime: it compiles a graph for one kind of GPU, which takes minutes, into an engine that is kept.

What it cannot compile, such as fused operators of ONNX Runtime, CUDA runs. Numbers of 8 bits would come from a graph
with QuantizeLinear and DequantizeLinear alone, never from ranges that are taken from a batch.
"""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path
from typing import Literal

from serving.errors import ProviderError
from serving.model.shapes import Shapes

TENSORRT: Literal["TensorrtExecutionProvider"] = "TensorrtExecutionProvider"
# ONNX Runtime's provider for TensorRT is linked against this one; release 11 brings libnvinfer.so.11.
LIBRARY = "libnvinfer.so.10"
MISSING = f"{LIBRARY} is not there; install it with `pip install 'tensorrt-cu13<11'`"
MOST_KEPT = 8
"""Engines that the folder holds, one for each artifact, variant and kind of GPU: those that were used last."""


def tensorrt_found() -> bool:
    """Whether this process can load TensorRT."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def require_tensorrt() -> None:
    """Raise ProviderError, which names the command that installs it, where TensorRT is missing."""
    if not tensorrt_found():
        raise ProviderError(f'gpu_runtime = "tensorrt" is set, and {MISSING}, or leave the setting out')


def tensorrt_options(gpu: int, memory_mb: int, shapes: Shapes, precision: str, engines: Path | None) -> dict[str, str]:
    """What ONNX Runtime's TensorRT provider is told. `engines` is the folder of this artifact's, None to keep none.

    One profile holds every padded shape, and is tuned for the largest one.
    """
    every = shapes.all()
    least, most = (tuple(map(bound, zip(*every, strict=True))) for bound in (min, max))
    options = {
        "device_id": str(gpu),
        "trt_fp16_enable": "1" if precision == "fp16" else "0",
        "trt_bf16_enable": "1" if precision == "bf16" else "0",
        # With no table of ranges, this would take what a QDQ graph says; there is no such variant.
        "trt_int8_enable": "0",
        "trt_profile_min_shapes": _profile(shapes.inputs, least),
        "trt_profile_opt_shapes": _profile(shapes.inputs, every[0]),
        "trt_profile_max_shapes": _profile(shapes.inputs, most),
    }
    if memory_mb:
        options["trt_max_workspace_size"] = str(memory_mb * 1024**2)
    if engines is not None:
        options |= {
            "trt_engine_cache_enable": "1",
            "trt_engine_cache_path": str(engines),
            "trt_timing_cache_enable": "1",
            "trt_timing_cache_path": str(engines),
        }
    return options


def engines_of(folder: Path, digest: str, variant: str, capability: tuple[int, int], most: int = MOST_KEPT) -> Path:
    """The folder below `folder` for the engines of a variant on a kind of GPU; it is made, and the oldest others go.

    ONNX Runtime's own names of engines say nothing of the weights: another artifact must not find them.
    """
    own = folder / f"{digest[:32]}-{variant}-sm{capability[0]}{capability[1]}"
    own.mkdir(parents=True, exist_ok=True)
    own.touch()
    others = sorted(
        (each for each in folder.iterdir() if each.is_dir() and each != own), key=lambda e: e.stat().st_mtime
    )
    for old in others[: max(0, len(others) - (most - 1))]:
        shutil.rmtree(old, ignore_errors=True)
    return own


def _profile(inputs: tuple[str, ...], shape: tuple[int, ...]) -> str:
    return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name in inputs)
