"""The ResNet of torchvision and timm as a transformers model: ResNet-18 to -152, Wide ResNet and ResNeXt.

They are one architecture with other numbers (He et al. 2015, arXiv:1512.03385; Zagoruyko and Komodakis 2016,
arXiv:1605.07146; Xie et al. 2016, arXiv:1611.05431). Parameters are named as in torchvision, whose state dicts load
unchanged. A bottleneck subsamples in its 3x3 convolution, as both libraries do. transformers' Auto classes know the
model, so its folders load through `from_pretrained`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoConfig, AutoModelForImageClassification, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention

from optimize.models.grouped import classified

Block = Literal["basic", "bottleneck"]


class TorchvisionResNetConfig(PretrainedConfig):
    """`depths`: blocks of each group; `widths`: channels that leave each group.

    `inner_widths`: channels of each group's convolutions before the last one of a block; `groups`: those of a
    bottleneck's 3x3 convolution (ResNeXt); `stem_width`: channels that enter the first group.
    """

    model_type = "torchvision_resnet"

    def __init__(
        self,
        *,
        block: Block = "basic",
        depths: tuple[int, ...] = (2, 2, 2, 2),
        widths: tuple[int, ...] = (64, 128, 256, 512),
        inner_widths: tuple[int, ...] = (64, 128, 256, 512),
        stem_width: int = 64,
        groups: int = 1,
        num_channels: int = 3,
        **common: Any,
    ) -> None:
        self.block = block
        self.depths = list(depths)
        self.widths = list(widths)
        self.inner_widths = list(inner_widths)
        self.stem_width = stem_width
        self.groups = groups
        self.num_channels = num_channels
        super().__init__(**common)


class _Block(nn.Module):
    """Adds what the convolutions `_convolved` say to the input, which a 1x1 convolution fits where shapes change."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            convolution = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self._convolved(x) + shortcut)

    def _convolved(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class BasicBlock(_Block):
    """Two 3x3 convolutions."""

    def __init__(self, in_channels: int, inner: int, out_channels: int, stride: int, _groups: int) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.conv1 = nn.Conv2d(in_channels, inner, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def _convolved(self, x: Tensor) -> Tensor:
        out: Tensor = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return out


class Bottleneck(_Block):
    """A 3x3 convolution, in groups for a ResNeXt, between two 1x1 convolutions."""

    def __init__(self, in_channels: int, inner: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)

    def _convolved(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        expanded: Tensor = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(out)))))
        return expanded


class TorchvisionResNet(PreTrainedModel):  # type: ignore[no-untyped-call]  # its __init_subclass__ has no types
    """`pixel_values` float32 [batch, channels, height, width] -> logits [batch, labels].

    `output_hidden_states` adds the outputs of the stem and of each group, [batch, channels, height, width], as in
    transformers' own ResNet.
    """

    config_class = TorchvisionResNetConfig
    main_input_name = "pixel_values"

    def __init__(self, config: TorchvisionResNetConfig) -> None:
        super().__init__(config)
        self.conv1 = nn.Conv2d(config.num_channels, config.stem_width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(config.stem_width)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        for number, blocks in enumerate(_groups_of(config), start=1):
            self.add_module(f"layer{number}", blocks)
        self.fc = nn.Linear(config.widths[-1], config.num_labels)
        self.post_init()  # type: ignore[no-untyped-call]  # of transformers, without types

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            module.reset_parameters()

    def forward(
        self, pixel_values: Tensor, output_hidden_states: bool = False, **_: Any
    ) -> ImageClassifierOutputWithNoAttention:
        x = self.maxpool(F.relu(self.bn1(self.conv1(pixel_values))))
        groups = (getattr(self, f"layer{number}") for number in range(1, len(self.config.depths) + 1))
        return classified(x, groups, self.fc, output_hidden_states=output_hidden_states)


def _groups_of(config: TorchvisionResNetConfig) -> Iterator[nn.Sequential]:
    block = BasicBlock if config.block == "basic" else Bottleneck
    before = config.stem_width
    for number, depth in enumerate(config.depths):
        inner, width = config.inner_widths[number], config.widths[number]
        first = block(before, inner, width, 1 if number == 0 else 2, config.groups)
        yield nn.Sequential(first, *(block(width, inner, width, 1, config.groups) for _ in range(depth - 1)))
        before = width


AutoConfig.register("torchvision_resnet", TorchvisionResNetConfig)
AutoModelForImageClassification.register(TorchvisionResNetConfig, TorchvisionResNet)
