"""Count and cut attention heads, by transformers' own `prune_heads` or by hand where a family has none.

A model that was cut by hand has `pruned: true` in its config, and is loaded by the shapes of its tensors
(`optimize.models.saved`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from optimize.models.families import CutByHand, family_of, known, layers_of


def attention_output(model: PreTrainedModel, layer: nn.Module) -> Any:
    """The product that mixes a layer's heads: each head has `head_size` of its inputs."""
    return layer.get_submodule(known(model).attention_output)


def head_size(config: PretrainedConfig) -> int:
    """The width of one head, which pruning does not change."""
    width = getattr(config, "true_hidden_size", config.hidden_size)  # MobileBERT's layers are narrower inside
    return int(getattr(config, "attention_head_size", width // config.num_attention_heads))


def cut_heads(model: PreTrainedModel, gone: Mapping[int, list[int]]) -> None:
    """Remove heads in place; `gone` has their numbers by the place of the layer."""
    by_hand = known(model).heads_by_hand
    if by_hand is None:
        model.prune_heads({place: heads for place, heads in gone.items() if heads})
        return
    size = head_size(model.config)
    for layer, heads in zip(layers_of(model), gone.values(), strict=True):
        output = attention_output(model, layer)
        there = torch.arange(output.in_features).reshape(-1, size)
        kept = there[[head for head in range(len(there)) if head not in heads]].flatten()
        attention = layer.get_submodule(by_hand.attention)
        for name in by_hand.projections:
            if hasattr(attention, name):
                keep_rows(getattr(attention, name), kept, by_hand.parts)
        keep_columns(output, kept)
    model.config.pruned = True
    count_heads(model)


def count_heads(model: PreTrainedModel) -> None:
    """Tell each layer that was cut by hand how many heads it has, which the shapes of its weights say."""
    family = family_of(model.config)
    if family is not None and family.heads_by_hand is not None:
        for layer in layers_of(model):
            _count(layer, family.heads_by_hand, attention_output(model, layer).in_features, head_size(model.config))


def _count(layer: nn.Module, by_hand: CutByHand, width: int, size: int) -> None:
    attention: Any = layer.get_submodule(by_hand.attention)
    setattr(attention, by_hand.count, width // size)
    attention.all_head_size = width


def keep_rows(product: Any, kept: Tensor, parts: int = 1) -> None:
    """Keep some outputs of a linear layer in place; `parts` matrices one below the other keep the same ones."""
    width = product.out_features // parts
    rows = torch.cat([kept + part * width for part in range(parts)])
    product.weight = nn.Parameter(product.weight[rows].detach())
    if product.bias is not None:
        product.bias = nn.Parameter(product.bias[rows].detach())
    product.out_features = len(rows)


def keep_columns(product: Any, kept: Tensor) -> None:
    """Keep some inputs of a linear layer in place."""
    product.weight = nn.Parameter(product.weight[:, kept].detach())
    product.in_features = len(kept)
