"""Choose, narrow and freeze the layers of a text encoder, of whichever family (`optimize.models.families`)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from optimize.models.attention_heads import keep_columns, keep_rows
from optimize.models.families import embeddings_of, global_every, known, layers_of, matching, require_freezable
from optimize.models.saved import from_state


def with_layers(teacher: PreTrainedModel, layers: Sequence[int]) -> PreTrainedModel:
    """A copy of `teacher` with these of its layers, in this order.

    It is made from its own config, as loading will make it: ModernBERT gives a layer what its place asks for.
    """
    config = copy.deepcopy(teacher.config)
    config.num_hidden_layers = len(layers)
    pruned = {int(layer): heads for layer, heads in config.pruned_heads.items()}
    config.pruned_heads = {place: pruned[layer] for place, layer in enumerate(layers) if layer in pruned}
    if config.model_type == "modernbert":
        config.global_attn_every_n_layers = global_every(config, layers)
    state = teacher.state_dict()
    stem = f"{teacher.base_model_prefix}.{known(teacher).layers.removesuffix('.N')}"
    chosen = {key: value for key, value in state.items() if not key.startswith(f"{stem}.")}
    for place, layer in enumerate(layers):
        origin = f"{stem}.{layer}."
        chosen.update(
            {f"{stem}.{place}.{key[len(origin) :]}": value for key, value in state.items() if key.startswith(origin)}
        )
    return from_state(type(teacher)._from_config, config, chosen)


def feed_forward_of(model: PreTrainedModel, layer: nn.Module) -> list[tuple[Any, Any]]:
    """The pairs of linear layers around each feed-forward width of a layer."""
    return [
        (first, second)
        for paths in known(model).feed_forward
        for (_, first), (_, second) in zip(*(matching(layer, path) for path in paths), strict=True)
    ]


def keep_units(model: PreTrainedModel, first: Any, second: Any, kept: Tensor) -> None:
    """Keep some feed-forward units of a pair in place."""
    keep_rows(first, kept, parts=2 if known(model).gated else 1)
    keep_columns(second, kept)


def freeze(model: PreTrainedModel, frozen_layers: int) -> None:
    """Keep the first layers and all embeddings as they are. Raises StepError when the model has not so many."""
    require_freezable(model.config, frozen_layers)
    if frozen_layers:
        for module in (*embeddings_of(model), *layers_of(model)[:frozen_layers]):
            module.requires_grad_(False)
