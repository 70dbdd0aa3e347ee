"""What the steps must know of each architecture for images: where its groups of blocks are, what cannot be pruned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class ImageFamily:
    """`group`: name of the module that holds a group's blocks; `{index}` counts from 0, `{number}` from 1.

    `fixed`: names of convolutions that must keep their output channels, as a regular expression.
    """

    group: str
    fixed: str | None = None

    def group_name(self, index: int) -> str:
        """The name of the module with the blocks of a group, counted from 0."""
        return self.group.format(index=index, number=index + 1)

    def must_stay(self, name: str) -> bool:
        """Whether the convolution `name` must keep its output channels."""
        return self.fixed is not None and re.fullmatch(self.fixed, name) is not None


IMAGE_FAMILIES: Mapping[str, ImageFamily] = {
    "resnet": ImageFamily("resnet.encoder.stages.{index}.layers"),
    # Shortcuts without parameters (option A) fix the widths of the groups.
    "cifar_resnet": ImageFamily("layer{number}", fixed=r"conv1|.*conv2"),
    "torchvision_resnet": ImageFamily("layer{number}"),
}
"""By the `model_type` of transformers' config."""


def image_family(config: PretrainedConfig) -> ImageFamily:
    """The family of a model with this config, which is one of IMAGE_FAMILIES."""
    return IMAGE_FAMILIES[config.model_type]
