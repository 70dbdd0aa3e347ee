"""The gate of a ready graph in INT8: it is published as it is, so it must compute the same on every CPU.

Graphs that Sieve quantizes are held to this when they are verified. One that was brought is held to it at once, before
anything is trained.
"""

from __future__ import annotations

import onnx

from optimize.build import Build
from optimize.errors import GateError
from optimize.judge.saturation import saturation
from optimize.results import STAGES


def require_equal_everywhere(build: Build) -> None:
    """Raise GateError when a stage would publish a ready INT8 graph that computes differently on another CPU."""
    teacher = build.teacher
    published = any(not any(step.starts_from for step in build.recipe.steps_of(stage)) for stage in STAGES)
    if teacher.graph is None or teacher.precision != "int8" or not published:
        return
    model = onnx.load(teacher.graph)
    own = sorted({node.op_type for node in model.graph.node if node.domain == "com.microsoft"})
    if own:
        raise GateError(
            f"{teacher.name}: exact integer arithmetic cannot check an INT8 graph with ONNX Runtime's own operators "
            f"({', '.join(own)}); bring the fp32 export, and the step quantize makes the INT8 graph"
        )
    wrong = saturation(model)
    if wrong is not None:
        raise GateError(f"{teacher.name} {wrong}; or bring the fp32 export, and the step quantize does so")
