"""The graph of an artifact in the words of the Open Inference Protocol, held against what a server says that it serves.

A server with version folders holds a variant under a number that says which artifact it is of: the first 12 digits of
the artifact's digest as a decimal number, and behind it one digit for the variant. So a call that names the version
gets no answer of another graph, and two versions can stand beside each other while a service moves to the new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from serving.errors import StageDownError
from serving.model.artifact import ImageSettings, Manifest, VariantName

# Servers keep versions as numbers of 64 bits. No number is given anew: it would name another graph.
NUMBERS: dict[VariantName, int] = {
    "cpu-fp32": 1,
    "cpu-int8": 2,
    "gpu-fp16": 3,
    "cpu-fp32-openvino": 4,
    "cpu-int8-openvino": 5,
    "gpu-bf16": 6,
}
DIGITS = 12
LOGITS = "logits"
MOST_SHOWN = 4


@dataclass(frozen=True, slots=True)
class TensorForm:
    """An input or an output; -1 in its shape stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.datatype} {list(self.shape)}"

    def takes(self, other: TensorForm) -> bool:
        """Whether `other`, of a server, is the same, with the same sizes or any."""
        return (self.name, self.datatype, len(self.shape)) == (other.name, other.datatype, len(other.shape)) and all(
            theirs in (ours, -1) for ours, theirs in zip(self.shape, other.shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a server says of a model. `parameters` are those of its own choice that are strings."""

    versions: Sequence[str]
    platform: str
    inputs: Sequence[TensorForm]
    outputs: Sequence[TensorForm]
    parameters: Mapping[str, str]


def inputs_of(manifest: Manifest) -> list[TensorForm]:
    """The inputs of an artifact's graphs."""
    settings = manifest.settings
    if isinstance(settings, ImageSettings):
        shape = (-1, len(settings.mean), settings.height, settings.width)
        return [TensorForm(settings.input, "FP32", shape)]
    return [TensorForm(name, "INT64", (-1, -1)) for name in settings.inputs]


def output_of(manifest: Manifest) -> TensorForm:
    """The output of an artifact's graphs."""
    return TensorForm(LOGITS, "FP32", (-1, len(manifest.labels)))


def require_form(manifest: Manifest, said: Metadata) -> None:
    """Raise StageDownError unless a server's model takes and gives what the graphs of an artifact do."""
    ours, theirs = inputs_of(manifest), {form.name: form for form in said.inputs}
    if len(ours) != len(theirs) or not all(form.name in theirs and form.takes(theirs[form.name]) for form in ours):
        raise StageDownError(
            f"the server's model must take {_listed(ours)}, got one that takes {_listed(said.inputs)}; serve what "
            "`python -m optimize export-triton` writes"
        )
    logits = output_of(manifest)
    if not any(logits.takes(form) for form in said.outputs):
        raise StageDownError(
            f"the server's model must give {logits}, got one that gives {_listed(said.outputs)}; serve what "
            "`python -m optimize export-triton` writes"
        )


def version_of(digest: str, variant: VariantName) -> str:
    """The version under which servers hold a variant of the artifact of this digest."""
    return str(int(digest[:DIGITS], 16) * 10 + NUMBERS[variant])


def _listed(forms: Sequence[TensorForm]) -> str:
    shown = [str(form) for form in forms[:MOST_SHOWN]]
    more = [f"{len(forms) - MOST_SHOWN} more"] if len(forms) > MOST_SHOWN else []
    return ", ".join([*shown, *more]) or "none"
