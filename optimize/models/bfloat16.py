"""A graph in bfloat16 for GPUs: the range of float32 in half of the memory, for models whose values fp16 cannot hold.

ONNX Runtime's CUDA provider has kernels in bfloat16 for most operators of a fused encoder and for convolutions, not for
all: the others stay in float32, with a Cast on each side. Both sums and what a layer norm or a softmax computes inside
are in float32 anyway.

The CPU has no such kernels. `emulated` is a graph that it can run in their place: each result is computed in float32
and rounded to bfloat16, as a kernel of the GPU does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, version_converter
from onnxruntime.tools.symbolic_shape_infer import SymbolicShapeInference

from serving.model.runtimes import Run
from serving.model.session import open_graph

_EVERY = range(16)
_TAKEN: dict[str, Iterable[int]] = {
    **dict.fromkeys(("MatMul", "FusedMatMul", "Gemm", "Conv", "Add", "Sub", "Mul", "Div"), _EVERY),
    **dict.fromkeys(("Relu", "Tanh", "Erf", "Sigmoid", "Gelu", "FastGelu", "BiasGelu", "QuickGelu", "Softmax"), _EVERY),
    **dict.fromkeys(("LayerNormalization", "SkipLayerNormalization"), _EVERY),
    **dict.fromkeys(("Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Slice", "Gather"), (0,)),
    "Attention": (0, 1, 2, 5),
    "MultiHeadAttention": (0, 1, 2, 3, 5),
}
"""The operators that CUDA computes in bfloat16, and which of their inputs are of that type: see OperatorKernels.md of
ONNX Runtime. EmbedLayerNormalization and the poolings have float32 and fp16 alone."""
_MICROSOFT = {"FusedMatMul", "FastGelu", "BiasGelu", "QuickGelu", "SkipLayerNormalization", "MultiHeadAttention"}
_CONV_OPSET = 22
"""The first operator set in which CUDA has convolutions in bfloat16."""
_MANTISSA_LOST = 16
_NARROW = (TensorProto.FLOAT16, TensorProto.BFLOAT16)


def in_bfloat16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a graph in float32 that computes in bfloat16 where CUDA can; inputs and outputs keep their types."""
    model = _with_bfloat16_convolutions(model)
    floats = {name for name, kind in _kinds(model).items() if kind == TensorProto.FLOAT}
    return _Conversion(floats, {tensor.name: tensor for tensor in model.graph.initializer}).of(model)


def emulated(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph for the CPU that gives what a graph in 16 bits gives on a GPU, up to the order of sums.

    Values of 16 bits are kept in float32, and each result is rounded to those that they can have: in fp16 what is too
    large becomes infinite. ONNX Runtime alone would widen fp16 on the CPU and round nothing between two operators.
    """
    kinds, copied = _kinds(model), _copied(model)
    graph = copied.graph
    for tensor in graph.initializer:
        _widen(tensor)
    nodes: list[onnx.NodeProto] = []
    for node in map(_copy, graph.node):
        if node.op_type == "Cast" and kinds.get(node.output[0]) in _NARROW:
            nodes += _rounded(node.input[0], node.output[0], kinds[node.output[0]])
            continue
        for attribute in node.attribute:
            _widen(attribute.t)
        nodes.append(node)
        for place, name in enumerate(node.output):
            if kinds.get(name) in _NARROW:
                node.output[place] = f"{name}/wide"
                nodes += _rounded(node.output[place], name, kinds[name])
    # A type that was inferred for 16 bits would contradict the new one.
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    return copied


def open_on_cpu(path: Path, threads: int) -> Run:
    """A graph for a GPU on the CPU, with the values that the GPU gives: to judge it, since it is slow there."""
    model = onnx.load(path)
    with TemporaryDirectory() as folder:
        beside = Path(folder) / path.name
        onnx.save(emulated(model), beside)
        return open_graph(beside, "CPUExecutionProvider", threads, "onnxruntime")[0]


@dataclass
class _Conversion:
    """One pass over a graph in the order of its nodes. `floats` are the names of its values in float32."""

    floats: set[str]
    weights: dict[str, TensorProto]
    narrow: set[str] = field(default_factory=set)
    """Values that are in bfloat16 in the new graph."""
    cast: dict[tuple[str, int], str] = field(default_factory=dict)
    """Value and type -> the name of its copy in that type."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def of(self, model: onnx.ModelProto) -> onnx.ModelProto:
        graph = model.graph
        outputs = {value.name for value in graph.output}
        for node in graph.node:
            taken = _taken(node) if node.output[0] in self.floats else ()
            for place, name in enumerate(node.input):
                if name in self.floats:
                    node.input[place] = self._as(name, TensorProto.BFLOAT16 if place in taken else TensorProto.FLOAT)
            self.nodes.append(node)
            if not taken:
                continue
            # Further outputs, such as the sum before a layer norm, have the type of the first one.
            for place, name in enumerate(node.output):
                if name in outputs:
                    node.output[place] = f"{name}/bfloat16"
                    self.nodes.append(helper.make_node("Cast", [node.output[place]], [name], to=TensorProto.FLOAT))
                elif name:
                    self.narrow.add(name)
        kept = [_copy(node) for node in self.nodes]
        del graph.node[:], graph.value_info[:]
        graph.node.extend(kept)
        used = {name for node in kept for name in node.input}
        tensors = [_copy_tensor(tensor) for name, tensor in self.weights.items() if name in used]
        del graph.initializer[:]
        graph.initializer.extend(tensors)
        return model

    def _as(self, name: str, kind: int) -> str:
        """The name of a float value in the type `kind`: itself, or a copy that is made for the first who needs it."""
        if (kind == TensorProto.BFLOAT16) == (name in self.narrow):
            return name
        if (name, kind) not in self.cast:
            copy = self.cast[name, kind] = f"{name}/{'bfloat16' if kind == TensorProto.BFLOAT16 else 'float'}"
            if name in self.weights:
                self.weights[copy] = _narrow_weight(self.weights[name], copy)
            else:
                self.nodes.append(helper.make_node("Cast", [name], [copy], to=kind))
        return self.cast[name, kind]


def _taken(node: onnx.NodeProto) -> Iterable[int]:
    """The inputs of a node that are in bfloat16 on CUDA; none for a node that stays in float32."""
    if len([name for name in node.output if name]) > 1 and node.op_type == "LayerNormalization":
        return ()  # its mean is in float32
    own = node.op_type in _MICROSOFT or (node.domain == "com.microsoft" and node.op_type in ("Attention", "Gelu"))
    standard = node.domain in ("", "ai.onnx") and node.op_type not in (*_MICROSOFT, "Attention")
    return _TAKEN.get(node.op_type, ()) if own or standard else ()


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    """The type of each value. ONNX's own inference stops at operators of ONNX Runtime, this one knows them."""
    inferred = SymbolicShapeInference.infer_shapes(_copied(model), auto_merge=True, guess_output_rank=True)
    typed = [*inferred.graph.value_info, *model.graph.input, *model.graph.output]
    kinds = {value.name: value.type.tensor_type.elem_type for value in typed}
    return kinds | {tensor.name: tensor.data_type for tensor in model.graph.initializer}


def _with_bfloat16_convolutions(model: onnx.ModelProto) -> onnx.ModelProto:
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < _CONV_OPSET and any(node.op_type == "Conv" for node in model.graph.node):
        return version_converter.convert_version(model, _CONV_OPSET)
    return _copied(model)


def _narrow_weight(tensor: TensorProto, name: str) -> TensorProto:
    """A weight in bfloat16, rounded to the nearest, to the even one of two."""
    bits = numpy_helper.to_array(tensor).astype(np.float32).view(np.uint32)
    even = (bits >> _MANTISSA_LOST) & 1
    halves = ((bits + 0x7FFF + even) >> _MANTISSA_LOST).astype("<u2")
    return helper.make_tensor(name, TensorProto.BFLOAT16, tensor.dims, halves.tobytes(), raw=True)


def _widen(tensor: TensorProto) -> None:
    """Write a tensor of 16 bits anew in float32, with the same values."""
    if tensor.data_type in _NARROW:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _rounded(name: str, output: str, kind: int) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Cast", [name], [f"{output}/rounded"], to=kind),
        helper.make_node("Cast", [f"{output}/rounded"], [output], to=TensorProto.FLOAT),
    ]


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = onnx.NodeProto()
    copied.CopyFrom(node)
    return copied


def _copy_tensor(tensor: TensorProto) -> TensorProto:
    copied = TensorProto()
    copied.CopyFrom(tensor)
    return copied
