"""Read an ONNX file that somebody brings, and refuse what cannot be served, in one sentence each."""

from __future__ import annotations

from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import ExternalDataInfo, uses_external_data

from optimize.errors import CheckpointError
from optimize.models.weights import require_no_pointer
from optimize.results import GRAPH_FILE, Precision

OPSET = 13
"""The lowest operator set: what the quantizers write needs it."""
MOST_BYTES = 2**31 - 1
"""What a graph with its weights inside may have: protobuf's limit."""
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Operators that ONNX Runtime brings; all others need a library of their own."""
_INTEGERS = {
    *("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "ConvInteger"),
    *("DynamicQuantizeMatMul", "MatMulIntegerToFloat", "QAttention", "QGemm", "MatMulNBits"),
}
_HALF: dict[int, Precision] = {onnx.TensorProto.FLOAT16: "fp16", onnx.TensorProto.BFLOAT16: "bf16"}


def found_in(path: Path) -> Path:
    """The ONNX file at `path`: the file itself, or in a folder model.onnx or else the only one.

    Raises CheckpointError when there is none, or several.
    """
    if path.is_file():
        return path
    there = [path / GRAPH_FILE] if (path / GRAPH_FILE).is_file() else sorted(path.glob("*.onnx"))
    if len(there) == 1:
        return there[0]
    what = f"{len(there)} ONNX files, such as {there[0].name}" if there else "no ONNX file"
    raise CheckpointError(
        f"checkpoint {path} has {what}, and one is taken: {GRAPH_FILE}, or the only one; give the path of the file"
    )


def read_onnx(path: Path) -> onnx.ModelProto:
    """The graph in a file, with its weights inside. Raises CheckpointError when it is not whole or cannot be served."""
    require_no_pointer(path)
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        raise _not_valid(path, "not a protobuf of ONNX") from None
    if not model.graph.node:
        raise _not_valid(path, "no operator in it")
    _require_operators(path, model)
    _require_small(path, external_files(path, model))
    try:
        onnx.checker.check_model(path.as_posix())
        onnx.load_external_data_for_model(model, path.parent.as_posix())
    except (onnx.checker.ValidationError, OSError, ValueError) as error:
        raise _not_valid(path, str(error)) from None
    return model


def external_files(path: Path, model: onnx.ModelProto) -> list[Path]:
    """The files beside `path` that hold weights of its graph."""
    outside = (ExternalDataInfo(tensor).location for tensor in model.graph.initializer if uses_external_data(tensor))
    return [path.parent / name for name in sorted(set(outside))]


def precision_of(model: onnx.ModelProto) -> Precision:
    """What a graph computes in: `int8` with any integer products or weights, `fp16` or `bf16` with any such weights."""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    if any(node.op_type in _INTEGERS or node.op_type.startswith("QLinear") for node in nodes):
        return "int8"
    constants = [attribute.t for node in nodes if node.op_type == "Constant" for attribute in node.attribute]
    kinds = {tensor.data_type for tensor in (*model.graph.initializer, *constants)}
    return next((precision for kind, precision in _HALF.items() if kind in kinds), "fp32")


def _require_small(path: Path, files: list[Path]) -> None:
    for file in files:
        if not file.is_file():
            raise CheckpointError(
                f"checkpoint {path} keeps weights in {file.name}, which is not there; copy or download both again"
            )
        require_no_pointer(file)
    total = sum(file.stat().st_size for file in (path, *files))
    if total > MOST_BYTES:
        raise CheckpointError(
            f"checkpoint {path}: a graph and its weights must have at most {MOST_BYTES:,} bytes together, got "
            f"{total:,}; bring a smaller model, or its checkpoint in PyTorch"
        )


def _require_operators(path: Path, model: onnx.ModelProto) -> None:
    known = {*DOMAINS, *(function.domain for function in model.functions)}
    foreign = [node for node in model.graph.node if node.domain not in known]
    if foreign:
        raise CheckpointError(
            f"checkpoint {path} needs an operator that ONNX Runtime does not bring ({foreign[0].domain}."
            f"{foreign[0].op_type}); export the model without operators of its own"
        )
    opset = max((each.version for each in model.opset_import if each.domain in ("", "ai.onnx")), default=0)
    if opset < OPSET:
        raise CheckpointError(
            f"checkpoint {path} is written in operator set {opset}, and the quantizers need at least {OPSET}; export "
            f"it again with a higher opset, or convert it with onnx.version_converter"
        )


def _not_valid(path: Path, reason: str) -> CheckpointError:
    first = (reason.strip().splitlines() or ["empty"])[0][:160]
    return CheckpointError(
        f"checkpoint {path} is not a valid ONNX file ({first}); copy or download it again, or export it anew"
    )
