"""Which ResNet a state dict holds, told by the names and shapes of its tensors, and the model with them.

torchvision and timm name the tensors of a plain ResNet alike. What timm adds to some (deep stems, attention, pooled
shortcuts) computes something else and is refused with the reason.
"""

from __future__ import annotations

import re

from transformers import PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.heads import label_maps
from optimize.models.resnet_state import FIRST, State, few
from optimize.models.torchvision_resnet import TorchvisionResNet, TorchvisionResNetConfig

# Tensors that a plain ResNet lacks, and what they tell.
_UNLIKE = {
    r"conv1\.\d+\..*": "a deep stem (several convolutions in conv1)",
    r".*\.se\..*|.*\.se_module\..*": "squeeze-and-excitation in its blocks",
    r".*\.(attn|eca)\..*": "attention in its blocks",
    r".*\.conv2\.\w+\..*": "split attention in its blocks",
    r".*\.convs\.\d+\..*": "the scales of a Res2Net",
    r"attnpool\..*": "attention in place of the average pool",
}


def has_cifar_layout(state: State) -> bool:
    """Whether the tensors are those of a CIFAR ResNet with shortcuts without parameters."""
    groups = {key.split(".")[0] for key in state if key.startswith("layer")}
    shortcuts = any(".downsample." in key or ".shortcut." in key for key in state)
    return _kernel(state) == 3 and groups == {"layer1", "layer2", "layer3"} and not shortcuts


def channels_of(state: State) -> int:
    """How many channels the images of a ResNet have: 3 or 1, say."""
    return state["conv1.weight"].shape[1]


def resnet_of(state: State, labels: tuple[str, ...], *, where: str, fresh_head: bool) -> PreTrainedModel:
    """The ResNet whose tensors, named as in torchvision, are `state`, with a head for `labels`, in their order.

    With `fresh_head`, a new head replaces one that is missing or of another size. `where` names the checkpoint in
    messages. Raises CheckpointError when this is no plain ResNet, not the whole of one, or has no fitting head.
    """
    cifar = has_cifar_layout(state)
    head = "linear" if cifar else "fc"
    if not cifar:
        _require_plain(state, where)
    if not _has_head(state, head, len(labels)):
        if not fresh_head:
            raise CheckpointError(_no_head(state, head, labels, where))
        state = {key: value for key, value in state.items() if not key.startswith(f"{head}.")}
    model: PreTrainedModel
    if cifar:
        model = CifarResNet(_cifar_config(state, labels))
    else:
        model = TorchvisionResNet(_torchvision_config(state, labels))
    _require_whole(model, state, head, where)
    model.load_state_dict(state, strict=False)  # what may be missing is a fresh head, and counters
    return model


def _kernel(state: State) -> int | None:
    """The side of the stem's kernel; None where the stem is no single convolution."""
    stem = state.get("conv1.weight")
    return None if stem is None or stem.ndim != 4 else stem.shape[-1]


def _require_plain(state: State, where: str) -> None:
    reasons = [what for pattern, what in _UNLIKE.items() if any(re.fullmatch(pattern, key) for key in state)]
    if any(key.endswith("downsample.1.weight") and value.ndim == 4 for key, value in state.items()):
        reasons.append("shortcuts with average pools (downsample.1 is a convolution)")
    if not reasons and "bn1.weight" in state and "bn1.running_mean" not in state:
        reasons.append("another norm than batch norm (bn1 has no running_mean)")
    if not reasons and (kernel := _kernel(state)) not in (None, 7):
        reasons.append(f"a stem of {kernel}x{kernel} pixels, whose stride no tensor tells")
    if reasons:
        raise CheckpointError(
            f"checkpoint {where} is no plain ResNet: it has {', '.join(reasons)}, which Sieve does not compute; bring "
            "a ResNet-18 to -152, a Wide ResNet or a ResNeXt as torchvision builds them"
        )


def _cifar_config(state: State, labels: tuple[str, ...]) -> CifarResNetConfig:
    widths = tuple(state[f"layer{number}.0.conv1.weight"].shape[0] for number in (1, 2, 3))
    return CifarResNetConfig(
        depths=_depths(state), widths=widths, num_channels=channels_of(state), **label_maps(labels)
    )


def _torchvision_config(state: State, labels: tuple[str, ...]) -> TorchvisionResNetConfig:
    depths = _depths(state)
    bottleneck = "layer1.0.conv3.weight" in state
    last = "conv3" if bottleneck else "conv2"
    firsts = [f"layer{number}.0." for number in range(1, len(depths) + 1)]
    grouped = state.get("layer1.0.conv2.weight")
    return TorchvisionResNetConfig(
        block="bottleneck" if bottleneck else "basic",
        depths=depths,
        widths=tuple(_rows(state, f"{first}{last}.weight") for first in firsts),
        inner_widths=tuple(_rows(state, f"{first}conv1.weight") for first in firsts),
        stem_width=_rows(state, "conv1.weight"),
        groups=max(1, state[FIRST].shape[0] // grouped.shape[1]) if bottleneck and grouped is not None else 1,
        num_channels=channels_of(state) if "conv1.weight" in state else 3,
        **label_maps(labels),
    )


def _rows(state: State, key: str) -> int:
    """The first dimension of a tensor; 1 where it is missing, which is said later with all others."""
    return state[key].shape[0] if key in state else 1


def _depths(state: State) -> tuple[int, ...]:
    """The number of blocks of each group."""
    blocks: dict[int, set[int]] = {}
    for key in state:
        if found := re.match(r"layer(\d+)\.(\d+)\.", key):
            blocks.setdefault(int(found[1]), set()).add(int(found[2]))
    return tuple(1 + max(blocks.get(number, {0})) for number in range(1, 1 + max(blocks)))


def _has_head(state: State, head: str, count: int) -> bool:
    weight, bias = state.get(f"{head}.weight"), state.get(f"{head}.bias")
    return weight is not None and bias is not None and len(weight) == len(bias) == count


def _no_head(state: State, head: str, labels: tuple[str, ...], where: str) -> str:
    there = state.get(f"{head}.weight")
    others = [key for key in state if key.startswith(f"{head}.") and key not in (f"{head}.weight", f"{head}.bias")]
    if there is not None:
        what = f"its {head}.weight has {len(there)} rows"
    else:
        what = f"it has no {head}.weight" + (f", but {few(others)}" if others else "")
    return (
        f"checkpoint {where} has no trained head for {len(labels)} labels ({what}); add [[teacher]] with "
        'step = "fine-tune", or name a checkpoint that was trained on these labels'
    )


def _require_whole(model: PreTrainedModel, state: State, head: str, where: str) -> None:
    """Raise CheckpointError unless `state` has every tensor of `model`, in its shape, and no other."""
    wanted = model.state_dict()
    fresh = not any(key.startswith(f"{head}.") for key in state)
    optional = tuple(key for key in wanted if key.endswith("num_batches_tracked"))
    optional += tuple(key for key in wanted if fresh and key.startswith(f"{head}."))
    faults = {
        "missing": [key for key in wanted if key not in state and key not in optional],
        "of another shape": [key for key in wanted if key in state and state[key].shape != wanted[key].shape],
        "no part of one": [key for key in state if key not in wanted],
    }
    told = [f"{few(keys)} {'are' if len(keys) > 1 else 'is'} {what}" for what, keys in faults.items() if keys]
    if told:
        raise CheckpointError(
            f"checkpoint {where} is not the whole of a plain ResNet: {'; '.join(told)}; save the model's whole "
            "state_dict()"
        )
