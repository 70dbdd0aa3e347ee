"""Give a graph that somebody brings the inputs, axes and output that our own exports have.

Inputs are `input_ids`, `attention_mask` and perhaps `token_type_ids`, or `pixel_values`; the output is `logits`. Batch
and tokens become axes of any length. Whether the graph computes with them is for `optimize.models.onnx_trial` to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass, RemoveUnusedNodesPass

from optimize.errors import CheckpointError
from optimize.models.graphs import IR_VERSION
from optimize.models.saved import Task

Ending = Literal["Softmax", "Sigmoid"]
NEEDED, TYPES = ("input_ids", "attention_mask"), "token_type_ids"
PIXELS, LOGITS = "pixel_values", "logits"
_KEEPS_VALUES = ("Identity", "Cast")


@dataclass(frozen=True, slots=True)
class Interface:
    """A graph with our names, and what it had before.

    `theirs`: its own name of each of our inputs. `sizes`: the axes of its inputs, each a number, or None for any.
    `output`: its own name of the output. `ending`: what made shares of its logits, and was taken off.
    """

    model: onnx.ModelProto
    theirs: dict[str, str]
    sizes: tuple[int | None, ...]
    output: str
    ending: Ending | None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs, in the order in which our artifacts name them."""
        return tuple(self.theirs)


def with_our_interface(model: onnx.ModelProto, task: Task, path: Path) -> Interface:
    """A copy of the graph in `path` with our names. Raises CheckpointError when it has other inputs or outputs."""
    given = ir.from_proto(model)
    RemoveInitializersFromInputsPass()(given)
    graph = given.graph
    inputs = _text_inputs(graph, path) if task == "text" else _image_input(graph, path)
    theirs = {name: value.name or "" for name, value in inputs.items()}
    sizes = tuple(size if isinstance(size, int) else None for size in next(iter(inputs.values())).shape or ())
    output = _output(graph, path)
    their_output = output.name or ""
    ending, logits = _before_shares(output)
    graph.outputs[:] = [logits]
    RemoveUnusedNodesPass()(given)
    _name(graph, inputs, logits)
    for value in inputs.values():
        value.shape = ir.Shape(_any_length(task, sizes))
    logits.shape, logits.type = ir.Shape(("batch_size", None)), ir.TensorType(ir.DataType.FLOAT)
    given.ir_version = IR_VERSION
    return Interface(_written(given), theirs, sizes, their_output, ending)


def with_labels_in_order(model: onnx.ModelProto, order: Sequence[int]) -> onnx.ModelProto:
    """A copy of a graph with our names whose logits stand in the order of the places `order`."""
    given = ir.from_proto(model)
    graph, (before,) = given.graph, given.graph.outputs
    before.name = f"{LOGITS}_as_brought"
    places = ir.Value(name="label_order", const_value=ir.tensor(list(order), dtype=ir.DataType.INT64))
    graph.register_initializer(places)
    gather = ir.node("Gather", [before, places], {"axis": 1})
    after = gather.outputs[0]
    after.name, after.shape, after.type = LOGITS, ir.Shape(("batch_size", len(order))), before.type
    graph.append(gather)
    graph.outputs[:] = [after]
    return _written(given)


def _written(model: ir.Model) -> onnx.ModelProto:
    """The model without the shapes of the values inside: they may hold old sizes, and quantizers change some."""
    proto = ir.to_proto(model)
    del proto.graph.value_info[:]
    return proto


def _text_inputs(graph: ir.Graph, path: Path) -> dict[str, ir.Value]:
    there = {value.name: value for value in graph.inputs}
    names = (*NEEDED, *((TYPES,) if TYPES in there else ()))
    others = sorted(str(name) for name in set(there) - set(names))
    if not set(NEEDED) <= set(there) or others:
        raise CheckpointError(
            f"checkpoint {path} has the inputs {_few(there)}, and a graph for texts takes {NEEDED[0]}, {NEEDED[1]} and "
            f"at most {TYPES}; export it with these"
        )
    for name in names:
        _require_input(path, there[name], rank=2, kind=ir.DataType.INT64)
    return {name: there[name] for name in names}


def _image_input(graph: ir.Graph, path: Path) -> dict[str, ir.Value]:
    if len(graph.inputs) != 1:
        raise CheckpointError(
            f"checkpoint {path} has the inputs {_few([value.name for value in graph.inputs])}, and a graph for images "
            "takes one: pixels [batch, channels, height, width]; export it with that one"
        )
    value = graph.inputs[0]
    _require_input(path, value, rank=4, kind=ir.DataType.FLOAT)
    assert value.shape is not None, "it has four axes"
    channels = value.shape[1]
    if isinstance(channels, int) and channels not in (1, 3):
        raise CheckpointError(
            f"checkpoint {path} takes images of {channels} channels, and 1 or 3 must stand in the second place [batch, "
            "channels, height, width]; export it in that layout"
        )
    return {PIXELS: value}


def _require_input(path: Path, value: ir.Value, *, rank: int, kind: ir.DataType) -> None:
    there = len(value.shape) if value.shape is not None else None
    if there != rank or value.dtype != kind:
        raise CheckpointError(
            f"checkpoint {path}: its input {value.name} must be {kind.name} with {rank} axes, got "
            f"{value.dtype.name if value.dtype else 'no type'} with {there if there is not None else 'unknown'}; "
            "export it with these types"
        )


def _output(graph: ir.Graph, path: Path) -> ir.Value:
    """The output with the answers: the only one, or the one that is called logits."""
    named = [value for value in graph.outputs if value.name == LOGITS]
    found = named or list(graph.outputs)
    if len(found) != 1:
        raise CheckpointError(
            f"checkpoint {path} has the outputs {_few([value.name for value in found])}, and one is taken, [batch, "
            f"labels]; export it with that one, or call it {LOGITS}"
        )
    output = found[0]
    rank = len(output.shape) if output.shape is not None else 2
    if rank != 2 or output.dtype not in (None, ir.DataType.FLOAT) or output.producer() is None:
        raise CheckpointError(
            f"checkpoint {path}: its output {output.name} must be FLOAT with the axes [batch, labels], got "
            f"{output.dtype.name if output.dtype else 'no type'} with {rank}; export the model with its head for labels"
        )
    return output


def _before_shares(output: ir.Value) -> tuple[Ending | None, ir.Value]:
    """What makes shares of the logits at the graph's end, if anything does, and the logits before it."""
    value = output
    while (node := value.producer()) is not None and node.op_type in _KEEPS_VALUES:
        found = node.inputs[0]
        assert found is not None, "both have one input"
        value = found
    if node is None or node.domain not in ("", "ai.onnx") or node.op_type not in ("Softmax", "Sigmoid"):
        return None, output
    logits = node.inputs[0]
    assert logits is not None, "both have one input"
    return ("Softmax" if node.op_type == "Softmax" else "Sigmoid"), logits


def _name(graph: ir.Graph, inputs: dict[str, ir.Value], logits: ir.Value) -> None:
    """Give inputs and logits our names; a value inside that has one of them gets another."""
    ours = {**inputs, LOGITS: logits}
    inside = [value for node in graph.all_nodes() for value in node.outputs]
    for value in (*inside, *graph.initializers.values()):
        if value.name in ours and value is not ours[value.name]:
            value.name = f"{value.name}_inside"
    for name, value in ours.items():
        value.name = name


def _any_length(task: Task, sizes: Sequence[int | None]) -> tuple[int | str | None, ...]:
    if task == "text":
        return ("batch_size", "sequence_length")
    _, channels, height, width = sizes
    return ("batch_size", channels or "num_channels", height or "height", width or "width")


def _few(names: Sequence[str | None] | dict[str | None, ir.Value]) -> str:
    shown = [str(name) for name in names]
    return ", ".join(shown[:4]) + (f" and {len(shown) - 4} more" if len(shown) > 4 else "")
