"""The tensors of one ResNet out of whatever was saved around them: wrappers of trainers, prefixes, other tensors.

Lightning saves `{"state_dict": {"model.conv1.weight": ...}}`, DataParallel puts `module.` before each name, training
scripts keep `model`, `optimizer` and `model_ema` side by side. Nothing here depends on those names: a ResNet is where
the first convolution of its first block is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from optimize.errors import CheckpointError

State = dict[str, torch.Tensor]

FIRST = "layer1.0.conv1.weight"
_AVERAGED = re.compile(r"(^|[._])ema([._]|$)")
# Tensors that trainers keep beside the model: losses with class weights, metrics, counters of averaged weights.
_OF_TRAINING = re.compile(r"criterion|loss|metric|accuracy|(^|_)acc($|_)|n_averaged")
_PLAIN = 'bring the state dict of a plain ResNet, or save the model with save_pretrained and use source = "folder"'


@dataclass(frozen=True, slots=True)
class Found:
    """The tensors of a ResNet, named as in torchvision, in float32. `remarks`: what was chosen or passed over."""

    state: State
    remarks: list[str]


def find_resnet(stored: object, where: str) -> Found:
    """The one ResNet in `stored`; of averaged (EMA) weights and others the averaged ones.

    `where` names it in messages. Raises CheckpointError when there is no ResNet, or more than one.
    """
    dicts = dict(_state_dicts(stored, ""))
    if not dicts:
        raise CheckpointError(f"checkpoint {where} {_what_instead(stored)}; {_PLAIN}")
    remarks: list[str] = []
    name = _one_of(dicts, where, "state dicts", remarks)
    prefixes = {key.removesuffix(FIRST): key for key in dicts[name] if key.endswith(FIRST)}
    prefix = _one_of(prefixes, where, "ResNets under the prefixes", remarks)
    state: State = {}
    passed_over = []
    for key, value in dicts[name].items():
        own = key.removeprefix(prefix)
        if not key.startswith(prefix) or not isinstance(value, torch.Tensor) or _OF_TRAINING.search(own.split(".")[0]):
            passed_over.append(key)
        else:
            state[own] = value.float() if value.is_floating_point() else value
    if passed_over:
        remarks.append(f"passed over, as no part of the ResNet: {few(passed_over)}")
    return Found(state, remarks)


def few(names: list[str]) -> str:
    """At most three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _state_dicts(stored: object, name: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each mapping in `stored` that has the tensors of a ResNet, by the keys that lead to it."""
    if not isinstance(stored, Mapping):
        return
    if any(isinstance(key, str) and key.endswith(FIRST) for key in stored):
        yield name, {key: value for key, value in stored.items() if isinstance(key, str)}
        return
    for key, value in stored.items():
        yield from _state_dicts(value, f"{name}.{key}" if name else str(key))


def _one_of(found: Mapping[str, Any], where: str, what: str, remarks: list[str]) -> str:
    names = list(found)
    if len(names) == 1:
        return names[0]
    shown = few([repr(name) for name in names])
    averaged = [name for name in names if _AVERAGED.search(name)]
    if len(averaged) != 1:
        raise CheckpointError(
            f"checkpoint {where} holds {len(names)} {what} {shown}, and one is needed; save the one that you mean "
            "alone, with torch.save(model.state_dict(), PATH)"
        )
    remarks.append(f"of the {what} {shown} the averaged {averaged[0]!r} is taken")
    return averaged[0]


def _what_instead(stored: object) -> str:
    if not isinstance(stored, Mapping):
        return f"holds a {type(stored).__name__} and no state dict"
    names = [str(key) for key in stored]
    return f"has no tensors of a ResNet ({FIRST} is not there, but {few(names) or 'nothing'})"
