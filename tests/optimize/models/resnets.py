"""Tiny ResNets in torchvision's layout as state dicts, and what they compute, written out with torch's functions."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from optimize.models.resnet_state import State

SHAPES: dict[str, dict[str, Any]] = {
    "resnet18": {"depths": (2, 2, 1, 1)},
    "resnet50": {"depths": (2, 1, 1, 1), "expansion": 4},
    "resnext": {"expansion": 4, "groups": 4, "inner": 2},
    "wide": {"expansion": 4, "inner": 2},
    "one channel": {"channels": 1},
}
"""By name, the arguments of `resnet_state` for a small relative of each."""


def resnet_state(
    *,
    depths: tuple[int, ...] = (1, 1, 1, 1),
    width: int = 8,
    expansion: int = 1,
    inner: int = 1,
    groups: int = 1,
    channels: int = 3,
    labels: int = 3,
    seed: int = 0,
) -> State:
    """Random tensors with the names and the proportions of torchvision's ResNets, which start at a width of 64.

    `expansion`: 1 for basic blocks, else how much wider a bottleneck leaves than it is inside; `inner`: how much wider
    its 3x3 convolution is than a plain one's.
    """
    torch.manual_seed(seed)
    state: State = {}

    def convolution(name: str, out: int, taken: int, kernel: int) -> None:
        state[f"{name}.weight"] = torch.randn(out, taken, kernel, kernel) * (2 / (taken * kernel**2)) ** 0.5

    def norm(name: str, size: int) -> None:
        state[f"{name}.weight"], state[f"{name}.bias"] = torch.rand(size) + 0.5, torch.randn(size) * 0.1
        state[f"{name}.running_mean"], state[f"{name}.running_var"] = torch.randn(size) * 0.1, torch.rand(size) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("conv1", width, channels, 7)
    norm("bn1", width)
    before = width
    for group, depth in enumerate(depths):
        planes = width * 2**group
        middle, after = planes * inner, planes * expansion
        for block in range(depth):
            at = f"layer{group + 1}.{block}."
            if expansion == 1:
                convolution(at + "conv1", planes, before, 3)
                convolution(at + "conv2", planes, planes, 3)
            else:
                convolution(at + "conv1", middle, before, 1)
                convolution(at + "conv2", middle, middle // groups, 3)
                convolution(at + "conv3", after, middle, 1)
                norm(at + "bn3", after)
            norm(at + "bn1", middle)
            norm(at + "bn2", middle)
            if block == 0 and (group or before != after):
                convolution(at + "downsample.0", after, before, 1)
                norm(at + "downsample.1", after)
            before = after
    state["fc.weight"], state["fc.bias"] = torch.randn(labels, before) * 0.1, torch.randn(labels)
    return state


@torch.no_grad()
def expected_logits(state: State, pixels: Tensor) -> Tensor:
    """What torchvision's ResNet computes with `state`: [batch, channels, height, width] -> [batch, labels]."""

    def norm(name: str, x: Tensor) -> Tensor:
        tensors = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *tensors)

    x = F.conv2d(pixels, state["conv1.weight"], stride=2, padding=3)
    x = F.max_pool2d(F.relu(norm("bn1", x)), 3, stride=2, padding=1)
    for at in dict.fromkeys(key.rsplit(".conv1.", 1)[0] for key in state if ".conv1." in key):
        stride = 2 if at.endswith(".0") and not at.startswith("layer1.") else 1
        three = f"{at}.conv3.weight" in state
        out, size = x, 1 if three else 3
        out = F.conv2d(out, state[f"{at}.conv1.weight"], stride=1 if three else stride, padding=size // 2)
        out = F.relu(norm(f"{at}.bn1", out))
        weight = state[f"{at}.conv2.weight"]
        groups = out.shape[1] // weight.shape[1]
        out = norm(f"{at}.bn2", F.conv2d(out, weight, stride=stride if three else 1, padding=1, groups=groups))
        if three:
            out = norm(f"{at}.bn3", F.conv2d(F.relu(out), state[f"{at}.conv3.weight"]))
        if f"{at}.downsample.0.weight" in state:
            x = norm(f"{at}.downsample.1", F.conv2d(x, state[f"{at}.downsample.0.weight"], stride=stride))
        x = F.relu(out + x)
    return F.linear(x.mean(dim=(2, 3)), state["fc.weight"], state["fc.bias"])
