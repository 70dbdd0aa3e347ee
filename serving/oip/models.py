"""The models that clients of the protocol see: each cascade by its own name, the first of a kind by its kind, too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

import numpy as np
import orjson

from serving.cascade.cascade import StageAnswer
from serving.cascade.modality import Modality
from serving.cascade.served import Served
from serving.errors import InvalidInputError, NotServedError
from serving.model.answer import Answer
from serving.model.head import Softmax
from serving.oip.tensors import DTYPES, DataType, Tensor

SERVER, VERSION = "sieve", "1"
EXTENSIONS = ["binary_tensor_data"]
PLATFORM = "sieve_onnx"


class TensorMetadata(TypedDict):
    """Of an input or output; -1 stands for any number of items."""

    name: str
    datatype: DataType
    shape: list[int]


class Item(NamedTuple):
    """An item that has an answer."""

    answer: Answer
    stage: StageAnswer
    truncated: bool


@dataclass(frozen=True, slots=True)
class Output:
    """An output, and its `value` for an item: one, or with `by_label` one for each of the labels."""

    name: str
    datatype: DataType
    value: Callable[[Sequence[str], Item], object]
    by_label: bool = False


LABEL = Output("label", "BYTES", lambda _, item: item.answer.label)
LABELS = Output("labels", "BOOL", lambda labels, item: [label in item.answer.label for label in labels], by_label=True)
OUTPUTS = (
    Output("confidence", "FP32", lambda _, item: item.answer.confidence),
    Output("scores", "FP32", lambda _, item: item.answer.scores, by_label=True),
    Output("stage", "BYTES", lambda _, item: item.stage.stage),
    Output("escalated", "BOOL", lambda _, item: item.stage.escalated),
    Output("degraded", "BOOL", lambda _, item: item.stage.degraded is not None),
    Output("truncated", "BOOL", lambda _, item: item.truncated),
    Output("cached", "BOOL", lambda _, item: item.stage.cached is not None),
)
OF_ONE, OF_SEVERAL = ({output.name: output for output in (first, *OUTPUTS)} for first in (LABEL, LABELS))
"""The outputs by name, where an item has one label, and where it may have several."""


class Models:
    """The cascades that are `served`, each by its own name, and the first of a kind by its kind, too."""

    def __init__(self, served: Served) -> None:
        self._served = served

    @property
    def by_name(self) -> dict[str, Modality]:
        """The cascades by all names that they are found by."""
        return self._served.by_any_name

    def find(self, name: str, version: str = "") -> Modality:
        """The cascade of this name; an empty `version` is any. Raises NotServedError if there is none."""
        modality = self.by_name.get(name)
        if modality is None:
            there = ", ".join(self.by_name) or "none"
            raise NotServedError(f"no model of this name is served here; use one of these: {there}")
        if version not in ("", modality.version):
            raise NotServedError(
                f"no such version of {name} is served here; leave the version out, or ask for {modality.version}"
            )
        return modality


def inputs_of(modality: Modality) -> list[TensorMetadata]:
    """The inputs of a cascade, each of as many items as the others."""
    names = ["text", "text_pair"] if modality.pairs else [modality.kind]
    return [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in names]


def outputs_of(modality: Modality) -> list[TensorMetadata]:
    """The outputs of a cascade, in the order in which they are sent."""
    count = len(modality.cascade.labels)
    return [
        {"name": output.name, "datatype": output.datatype, "shape": [-1, count] if output.by_label else [-1]}
        for output in _outputs(modality).values()
    ]


def parameters_of(modality: Modality) -> dict[str, str]:
    """What else there is to know of a cascade, as strings: gRPC has nothing else for a list."""
    return {
        "labels": orjson.dumps(modality.cascade.labels).decode(),
        "screen": modality.screen_tag,
        "expert": modality.expert_tag,
        "screen_digest": modality.digests["screen"],
        "expert_digest": modality.digests["expert"],
    }


def metadata_of(name: str, modality: Modality) -> dict[str, Any]:
    """The metadata of a cascade that was asked for by this name."""
    return {
        "name": name,
        "versions": [modality.version],
        "platform": PLATFORM,
        "inputs": inputs_of(modality),
        "outputs": outputs_of(modality),
        "parameters": parameters_of(modality),
    }


def wanted_of(modality: Modality, asked: Mapping[str, bool] | None) -> Sequence[str]:
    """The names of the outputs that are asked for. Raises InvalidInputError if the cascade has no such output."""
    there = _outputs(modality)
    if asked is None:
        return list(there)
    if not asked.keys() <= there.keys():
        raise InvalidInputError(
            "outputs", f"may be {', '.join(there)}, got another name; leave outputs out for all of them"
        )
    return list(asked)


def tensors_of(modality: Modality, items: Sequence[Item], wanted: Sequence[str]) -> list[Tensor]:
    """The outputs named `wanted`."""
    there, labels = _outputs(modality), modality.cascade.labels
    tensors = []
    for name in wanted:
        output = there[name]
        shape = [len(items), len(labels)] if output.by_label else [len(items)]
        values = [output.value(labels, item) for item in items]
        if output.datatype == "BYTES":
            tensors.append(Tensor(name, output.datatype, shape, [str(value).encode() for value in values]))
        else:
            tensors.append(Tensor(name, output.datatype, shape, np.array(values, dtype=DTYPES[output.datatype])))
    return tensors


def _outputs(modality: Modality) -> Mapping[str, Output]:
    return OF_ONE if isinstance(modality.cascade.screen_head, Softmax) else OF_SEVERAL
