"""The ResNet for small images of He et al. 2015 (arXiv:1512.03385), section 4.2, as a transformers model.

It has three groups of basic blocks, shortcuts without parameters (option A) and depth 6n + 2. Parameters are named as
in github.com/akamaster/pytorch_resnet_cifar10, whose state dicts load unchanged. transformers' Auto classes know it, so
its folders load through `from_pretrained`.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForImageClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from optimize.models.grouped import classified


class CifarResNetConfig(PretrainedConfig):
    """`depths`: blocks of each group; `widths`: channels of each group; `image_size`: pixels a side."""

    model_type = "cifar_resnet"

    def __init__(
        self,
        *,
        depths: tuple[int, ...] = (3, 3, 3),
        widths: tuple[int, ...] = (16, 32, 64),
        num_channels: int = 3,
        image_size: int = 32,
        **common: Any,
    ) -> None:
        self.depths = list(depths)
        self.widths = list(widths)
        self.num_channels = num_channels
        self.image_size = image_size
        super().__init__(**common)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut that subsamples and pads with zero channels (option A)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.added_channels = out_channels - in_channels
        self.shortcut_weight: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        out = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(out + self._shortcut(x))

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.shortcut_weight is not None:
            return F.conv2d(x, self.shortcut_weight, stride=self.stride)
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.added_channels:
            x = F.pad(x, (0, 0, 0, 0, self._channels_before, self.added_channels - self._channels_before))
        return x

    @property
    def _channels_before(self) -> int:
        return self.added_channels // 2

    def convolve_shortcut(self) -> None:
        """Turn a shortcut that changes the shape into a 1x1 convolution with the same result."""
        if self.stride == 1 and not self.added_channels:
            return
        channels = self.conv1.in_channels
        weight = torch.zeros(channels + self.added_channels, channels, 1, 1)
        for channel in range(channels):
            weight[self._channels_before + channel, channel] = 1
        del self.shortcut_weight
        self.register_buffer("shortcut_weight", weight, persistent=False)


class CifarResNet(PreTrainedModel):  # type: ignore[no-untyped-call]  # its __init_subclass__ has no types
    """`pixel_values` float32 [batch, channels, height, width] -> logits [batch, labels].

    `output_hidden_states` adds the outputs of the stem and of each group, [batch, channels, height, width], as in
    transformers' own ResNet.
    """

    config_class = CifarResNetConfig
    main_input_name = "pixel_values"

    def __init__(self, config: CifarResNetConfig) -> None:
        super().__init__(config)
        self.conv1 = nn.Conv2d(config.num_channels, config.widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(config.widths[0])
        width_before = config.widths[0]
        for group, (depth, width) in enumerate(zip(config.depths, config.widths, strict=True), start=1):
            first = BasicBlock(width_before, width, stride=1 if group == 1 else 2)
            rest = [BasicBlock(width, width, stride=1) for _ in range(depth - 1)]
            self.add_module(f"layer{group}", nn.Sequential(first, *rest))
            width_before = width
        self.linear = nn.Linear(width_before, config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # of transformers, without types

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)

    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool = False, **_: Any
    ) -> ImageClassifierOutputWithNoAttention:
        x = F.relu(self.bn1(self.conv1(pixel_values)))
        groups = (getattr(self, f"layer{number}") for number in range(1, len(self.config.depths) + 1))
        return classified(x, groups, self.linear, output_hidden_states=output_hidden_states)


def convolve_shortcuts(model: nn.Module) -> nn.Module:
    """A copy whose shortcuts are convolutions, for ONNX Runtime; other models are returned unchanged.

    ONNX Runtime has no integer form of slicing and padding, so two blocks of a ResNet-20 stayed in float, a seventh of
    its time (0.35 against 0.30 ms, INT8, one thread).
    """
    if not isinstance(model, CifarResNet):
        return model
    copied = copy.deepcopy(model)
    for block in copied.modules():
        if isinstance(block, BasicBlock):
            block.convolve_shortcut()
    return copied


AutoConfig.register("cifar_resnet", CifarResNetConfig)
AutoModelForImageClassification.register(CifarResNetConfig, CifarResNet)
