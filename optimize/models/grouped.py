"""What every ResNet does behind its stem: groups of blocks one after the other, the mean over pixels, a linear head."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention


def classified(
    x: Tensor, groups: Iterable[nn.Module], head: nn.Module, *, output_hidden_states: bool
) -> ImageClassifierOutputWithNoAttention:
    """Logits [batch, labels] of the stem's output `x`, float32 [batch, channels, height, width].

    `output_hidden_states` adds `x` and the output of each group, as in transformers' own ResNet.
    """
    hidden: tuple[Tensor, ...] = (x,)
    for group in groups:
        x = group(x)
        hidden = (*hidden, x)
    logits = head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
    return ImageClassifierOutputWithNoAttention(
        logits=logits,
        hidden_states=hidden if output_hidden_states else None,  # type: ignore[arg-type]  # any float tensor will do
    )
