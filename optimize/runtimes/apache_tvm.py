"""Apache TVM on the CPU: the graph imported for fixed shapes and compiled by the default pipeline, without tuning.

Tuning searches schedules for each operator, shape and machine, for hours. This measures what an import gives.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from optimize.runtimes.candidate import Candidate, EachShape, Run, Subject
from serving.arrays import Array, Logits

MISSING = "Apache TVM is not installed; install it with `pip install '.[tvm]'`"


@dataclass(frozen=True)
class ApacheTvm(Candidate):
    """TVM's virtual machine, on a module for each shape."""

    @property
    def name(self) -> str:
        return "Apache TVM, not tuned"

    def missing(self, subject: Subject) -> str | None:
        return None if importlib.util.find_spec("tvm") else MISSING

    def version(self) -> str:
        return importlib.metadata.version("apache-tvm")

    def load(self, subject: Subject, threads: int) -> Run:
        import onnx

        tvm: Any = importlib.import_module("tvm")
        relax: Any = importlib.import_module("tvm.relax")
        from_onnx: Any = importlib.import_module("tvm.relax.frontend.onnx").from_onnx
        all_cores_alike = 1
        tvm.get_global_func("runtime.config_threadpool")(all_cores_alike, threads)
        graph = onnx.load(subject.graph)
        names = [each.name for each in graph.graph.input]
        target = tvm.target.Target({"kind": "llvm", "mcpu": tvm.target.codegen.llvm_get_system_cpu()})

        def opened(arrays: Mapping[str, Array]) -> Run:
            shapes = {name: list(arrays[name].shape) for name in names}
            module = from_onnx(graph, shape_dict=shapes, keep_params_in_input=False)
            machine = relax.VirtualMachine(tvm.compile(module, target=target), tvm.cpu())

            def run(arrays: Mapping[str, Array]) -> Logits:
                found = machine["main"](*(tvm.runtime.tensor(arrays[name]) for name in names))
                return np.array((found if hasattr(found, "numpy") else found[0]).numpy(), dtype=np.float32)

            return run

        return EachShape(opened)
