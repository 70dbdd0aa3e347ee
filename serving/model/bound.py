"""One session of ONNX Runtime with its inputs and outputs bound to memory that stays: how a model runs on a GPU.

A batch is written into host memory that CUDA copies from by itself, in one of a few padded shapes. It is copied, run
and copied back from the same addresses each time, so nothing is allocated while requests come, and a CUDA graph
recorded at the start can be played instead of launching kernels one by one. Two lanes have buffers of their own: while
the batch of one is computed, that of the other is copied.

The same code runs on the CPU, where arrays are bound as they are and nothing is copied.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import onnxruntime

from serving.arrays import Array, Logits
from serving.errors import ProviderError
from serving.model.device import Wanted
from serving.model.halves import is_out_of_memory
from serving.model.layout import Layout, faster
from serving.model.open_session import open_session
from serving.model.pinned import pinned
from serving.model.shapes import Shapes
from serving.model.tensorrt import TENSORRT

LANES = 2
"""Batches in flight on each GPU: one is computed, the other is copied."""
# ONNX Runtime records a CUDA graph in the second or third run of a shape.
WARM_UP_RUNS = 4
_UNRECORDED = -1

logger = logging.getLogger("sieve")


@dataclass(frozen=True, slots=True)
class _Slot:
    """The buffers of one shape. `on_gpu` is empty on the CPU, where `host` itself is bound."""

    host: Mapping[str, Array]
    on_gpu: Mapping[str, onnxruntime.OrtValue]
    binding: onnxruntime.IOBinding
    logits: onnxruntime.OrtValue
    options: onnxruntime.RunOptions

    def upload(self) -> None:
        """Copy what was written into `host` to the GPU."""
        for name, value in self.on_gpu.items():
            value.update_inplace(self.host[name])


class BoundSession:
    """Runs batches from any number of threads, of which LANES go on at a time.

    `gpu` is the number of a GPU, None for the CPU. `labels` is how many logits a row has. Every shape has run when this
    has been made, and `graphs` says whether CUDA graphs were recorded.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, shapes: Shapes, labels: int, *, gpu: int | None, graphs: bool
    ) -> None:
        self._session, self._shapes, self.graphs = session, shapes, graphs
        self._gpu, self._labels = gpu, labels
        # CUDA graphs belong to the thread that records them; lanes copy in the threads of their callers.
        self._launching = ThreadPoolExecutor(max_workers=1, thread_name_prefix="launch")
        self._unrecorded = _options(_UNRECORDED)
        self.lanes = [self._lane(number) for number in range(LANES)]
        self._free: SimpleQueue[dict[tuple[int, ...], _Slot]] = SimpleQueue()
        for lane in self.lanes:
            self._free.put(lane)

    def run(self, inputs: Mapping[str, Array]) -> Logits:
        """Arrays named as the graph's inputs, of one shape -> logits float32 [rows, labels]."""
        lane = self._free.get()
        try:
            return self._run(lane, inputs)
        finally:
            self._free.put(lane)

    def _run(self, lane: Mapping[tuple[int, ...], _Slot], inputs: Mapping[str, Array]) -> Logits:
        shape = next(iter(inputs.values())).shape
        fitting = self._shapes.fitting(shape)
        slot = None if fitting is None else lane.get(fitting)
        if slot is None:
            got = self._launching.submit(self._session.run, ["logits"], dict(inputs), self._unrecorded).result()
            return np.asarray(got[0], dtype=np.float32)
        self._shapes.fill(slot.host, inputs)
        slot.upload()
        self._launching.submit(self._session.run_with_iobinding, slot.binding, slot.options).result()
        # The next batch of this shape writes into the same memory.
        return np.array(slot.logits.numpy()[: shape[0]], dtype=np.float32)

    def _lane(self, number: int) -> dict[tuple[int, ...], _Slot]:
        """The buffers of a lane, whose shapes have all run. A shape for which memory is short is left out."""
        lane: dict[tuple[int, ...], _Slot] = {}
        every = self._shapes.all()
        for place, shape in enumerate(every, start=1 + number * len(every)):
            try:
                slot = self._slot(shape, place if self.graphs else _UNRECORDED)
                for _ in range(WARM_UP_RUNS if self.graphs else 1):
                    slot.upload()
                    self._launching.submit(self._session.run_with_iobinding, slot.binding, slot.options).result()
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                logger.warning("memory is too short for batches of shape %s; they run as two halves", list(shape))
                continue
            lane[shape] = slot
        return lane

    def _slot(self, shape: tuple[int, ...], graph: int) -> _Slot:
        names, dtype = self._shapes.inputs, self._shapes.dtype
        host = {name: pinned(shape, dtype, self._gpu) for name in names}
        kind, number = ("cpu", 0) if self._gpu is None else ("cuda", self._gpu)
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(host[name], kind, number) for name in names}
        logits = onnxruntime.OrtValue.ortvalue_from_shape_and_type([shape[0], self._labels], np.float32, kind, number)
        binding = self._session.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output("logits", logits)
        # On the CPU the value is the array itself.
        return _Slot(host, {} if self._gpu is None else values, binding, logits, _options(graph))


def open_on_gpu(path: Path, gpu: int, threads: int, wanted: Wanted, shapes: Shapes, labels: int) -> BoundSession:
    """A graph on a GPU; without CUDA graphs, with a warning, where they cannot be recorded.

    One for images has the layout that is wanted, or the faster one. Raises ProviderError if ONNX Runtime cannot run it.
    """

    def open_in(layout: Layout) -> BoundSession:
        if wanted.graphs:
            try:
                return _opened(path, gpu, threads, wanted.memory_mb, shapes, labels, graphs=True, layout=layout)
            except ProviderError:
                raise
            except Exception as error:  # noqa: BLE001 - ONNX Runtime has no exception of its own for this
                name, why = path.parent.name, _line(error)
                logger.warning("%s runs without CUDA graphs, which cannot be recorded (%s)", name, why)
        try:
            return _opened(path, gpu, threads, wanted.memory_mb, shapes, labels, graphs=False, layout=layout)
        except ProviderError:
            raise
        except Exception as error:  # noqa: BLE001 - as above
            raise ProviderError(f"GPU {gpu} cannot run {path.parent.name}: {_line(error)}") from None

    if wanted.layout != "auto" or not shapes.of_images:
        return open_in("nhwc" if wanted.layout == "nhwc" and shapes.of_images else "nchw")
    return faster(path.parent.name, open_in, shapes)


def _opened(
    path: Path, gpu: int, threads: int, memory_mb: int, shapes: Shapes, labels: int, *, graphs: bool, layout: Layout
) -> BoundSession:
    options = provider_options(gpu, memory_mb, graphs=graphs, layout=layout)
    session = open_session(path, "CUDAExecutionProvider", threads, provider_options=options)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise ProviderError(
            f"ONNX Runtime cannot start CUDA on GPU {gpu}, though there is one; its log says why: most often CUDA 13 "
            "or cuDNN 9 is missing (`pip install 'onnxruntime-gpu[cuda,cudnn]'`)"
        )
    return BoundSession(session, shapes, labels, gpu=gpu, graphs=graphs)


def open_in_tensorrt(
    path: Path, gpu: int, threads: int, shapes: Shapes, labels: int, options: Mapping[str, str]
) -> BoundSession:
    """A graph in TensorRT on a GPU, whose engine is compiled or read here. Raises ProviderError if that fails."""
    try:
        session = open_session(path, TENSORRT, threads, provider_options=options)
        if session.get_providers()[0] != TENSORRT:
            raise ProviderError(
                f"ONNX Runtime cannot start TensorRT on GPU {gpu}, though its library is there; its log says why; "
                'leave gpu_runtime = "tensorrt" out, or mend what it names'
            )
        return BoundSession(session, shapes, labels, gpu=gpu, graphs=False)
    except ProviderError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        raise ProviderError(f"TensorRT cannot run {path.parent.name} on GPU {gpu}: {_line(error)}") from None


def provider_options(gpu: int, memory_mb: int, *, graphs: bool, layout: Layout = "nchw") -> dict[str, str]:
    """What ONNX Runtime's CUDA provider is told; its defaults do for everything else."""
    options = {
        "device_id": str(gpu),
        "enable_cuda_graph": "1" if graphs else "0",
        "prefer_nhwc": "1" if layout == "nhwc" else "0",
        # Doubling would take twice what is needed, beside other experts on the same GPU.
        "arena_extend_strategy": "kSameAsRequested",
    }
    return {**options, "gpu_mem_limit": str(memory_mb * 1024**2)} if memory_mb else options


def _options(graph: int) -> onnxruntime.RunOptions:
    """Record the run as the CUDA graph of this number, or play it; a number below 0 does neither."""
    options = onnxruntime.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(graph))
    return options


def _line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
