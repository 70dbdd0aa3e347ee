"""Ways to run a model: ONNX Runtime as the service does, and what people would take instead.

Each takes a batch from the host's memory and brings the logits back there, as a service must.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from loadtest.errors import MissingError
from loadtest.gpu.networks import Inputs, Network

Run = Callable[[], np.ndarray[Any, Any]]
Open = Callable[[Inputs, int], Run]
"""A batch, and its number of items -> what runs it."""
CUDA, TENSORRT, CPU = "CUDAExecutionProvider", "TensorrtExecutionProvider", "CPUExecutionProvider"
_PLAIN_RUNS = -1  # no CUDA graph


@dataclass(frozen=True, slots=True)
class Way:
    """A way to run models. `load` opens one on a GPU or not, and raises MissingError where it cannot be had here."""

    name: str
    load: Callable[[Network, bool], Open]
    on_gpu_alone: bool = False
    images_alone: bool = False


def _onnx_runtime(provider: str, graphs: bool = False, **options: str) -> Callable[[Network, bool], Open]:
    def load(network: Network, on_gpu: bool) -> Open:
        import onnxruntime

        wanted = provider if on_gpu else CPU
        told = {**options, "enable_cuda_graph": "1"} if graphs else dict(options)
        if on_gpu:
            onnxruntime.preload_dlls()
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 4
        session = onnxruntime.InferenceSession(
            str(network.graph), settings, providers=[(wanted, told)] if wanted == CPU else [(wanted, told), CPU]
        )
        if session.get_providers()[0] != wanted:
            raise MissingError(f"ONNX Runtime cannot start {wanted} here")
        names = [each.name for each in session.get_inputs()]
        labels = network.model.config.num_labels
        kind = "cuda" if on_gpu else "cpu"

        def opened(inputs: Inputs, batch: int) -> Run:
            host = {name: inputs[name] for name in names}
            values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array, kind, 0) for name, array in host.items()}
            logits = onnxruntime.OrtValue.ortvalue_from_shape_and_type([batch, labels], np.float32, kind, 0)
            binding, run_options = session.io_binding(), onnxruntime.RunOptions()
            run_options.add_run_config_entry("gpu_graph_id", str(batch if graphs else _PLAIN_RUNS))
            for name, value in values.items():
                binding.bind_ortvalue_input(name, value)
            binding.bind_ortvalue_output("logits", logits)

            def run() -> np.ndarray[Any, Any]:
                if on_gpu:
                    for name, value in values.items():
                        value.update_inplace(host[name])
                session.run_with_iobinding(binding, run_options)
                return np.array(logits.numpy())

            return run

        return opened

    return load


def _pytorch(*, compiled: bool) -> Callable[[Network, bool], Open]:
    def load(network: Network, on_gpu: bool) -> Open:
        import copy

        import torch

        model = copy.deepcopy(network.model)
        device = torch.device("cuda" if on_gpu else "cpu")
        if on_gpu:
            model = model.half()
        model = model.to(device)
        called = torch.compile(model, mode="reduce-overhead" if on_gpu else "default") if compiled else model

        def opened(inputs: Inputs, batch: int) -> Run:
            host = {name: torch.from_numpy(array) for name, array in inputs.items()}
            if on_gpu:
                host = {name: tensor.pin_memory() for name, tensor in host.items()}

            @torch.inference_mode()
            def run() -> np.ndarray[Any, Any]:
                there = {name: tensor.to(device, non_blocking=True) for name, tensor in host.items()}
                if on_gpu and "pixel_values" in there:
                    there["pixel_values"] = there["pixel_values"].half()
                logits: np.ndarray[Any, Any] = called(**there).logits.float().cpu().numpy()
                assert len(logits) == batch
                return logits

            return run

        return opened

    return load


WAYS = (
    Way("ONNX Runtime", _onnx_runtime(CUDA)),
    Way("ONNX Runtime, CUDA graphs", _onnx_runtime(CUDA, graphs=True), on_gpu_alone=True),
    Way("ONNX Runtime, NHWC", _onnx_runtime(CUDA, prefer_nhwc="1"), on_gpu_alone=True, images_alone=True),
    Way("PyTorch eager", _pytorch(compiled=False)),
    Way("PyTorch compiled", _pytorch(compiled=True)),
    Way("TensorRT", _onnx_runtime(TENSORRT, trt_fp16_enable="1"), on_gpu_alone=True),
)
OURS = ("ONNX Runtime", "ONNX Runtime, CUDA graphs", "ONNX Runtime, NHWC")
