"""The families of text encoders: where each keeps what the steps work on, and what it cannot do.

`FAMILIES` is the one table. Paths start at the base model (layers, embeddings) or at a layer (the rest), and `N` stands
for a number. `optimize.models.layers` works through it; docs/models.md shows what follows from it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from optimize.errors import StepError


@dataclass(frozen=True, kw_only=True)
class CutByHand:
    """How heads are cut where transformers has no `prune_heads`.

    `projections` make the queries, keys and values; each holds `parts` matrices, one below the other. `attention` keeps
    the number of its heads in the attribute `count`.
    """

    attention: str
    count: str
    projections: tuple[str, ...]
    parts: int = 1


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family. The defaults are BERT's."""

    title: str
    layers: str = "encoder.layer.N"
    shared_layers: bool = False
    """One layer is used again and again, so that layers can be neither chosen nor frozen."""
    embeddings: tuple[str, ...] = ("embeddings",)
    """All that every layer depends on: what is frozen together with the first layers."""
    attention_output: str = "attention.output.dense"
    heads_by_hand: CutByHand | None = None
    feed_forward: tuple[tuple[str, str], ...] = (("intermediate.dense", "output.dense"),)
    """Pairs of products whose shared width can be pruned."""
    feed_forward_width: str = "intermediate_size"
    """The config's field with that width."""
    gated: bool = False
    """The first product of a pair has a gate of the same width below its values."""
    token_types: bool = True
    positions_after_padding: bool = False
    """Positions are counted from the padding's id on, so that a text has fewer than the config says."""


BERT = Family(title="BERT, MiniLM")
ROBERTA = Family(title="RoBERTa, XLM-R, CamemBERT", token_types=False, positions_after_padding=True)
FAMILIES: dict[str, Family] = {
    "bert": BERT,
    "distilbert": Family(
        title="DistilBERT",
        layers="transformer.layer.N",
        attention_output="attention.out_lin",
        feed_forward=(("ffn.lin1", "ffn.lin2"),),
        feed_forward_width="hidden_dim",
        token_types=False,
    ),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "electra": Family(title="ELECTRA", embeddings=("embeddings", "embeddings_project")),
    "albert": Family(
        title="ALBERT",
        layers="encoder.albert_layer_groups.N.albert_layers.N",
        shared_layers=True,
        embeddings=("embeddings", "encoder.embedding_hidden_mapping_in"),
        attention_output="attention.dense",
        feed_forward=(("ffn", "ffn_output"),),
    ),
    "deberta-v2": Family(
        title="DeBERTa-v2, DeBERTa-v3",
        embeddings=("embeddings", "encoder.rel_embeddings", "encoder.LayerNorm", "encoder.conv"),
        heads_by_hand=CutByHand(
            attention="attention.self",
            count="num_attention_heads",
            projections=("query_proj", "key_proj", "value_proj", "pos_key_proj", "pos_query_proj"),
        ),
    ),
    "modernbert": Family(
        title="ModernBERT",
        layers="layers.N",
        attention_output="attn.Wo",
        heads_by_hand=CutByHand(attention="attn", count="num_heads", projections=("Wqkv",), parts=3),
        feed_forward=(("mlp.Wi", "mlp.Wo"),),
        gated=True,
        token_types=False,
    ),
    "mobilebert": Family(
        title="MobileBERT",
        feed_forward=(
            ("ffn.N.intermediate.dense", "ffn.N.output.dense"),
            ("intermediate.dense", "output.dense"),
        ),
    ),
}


def family_of(config: PretrainedConfig) -> Family | None:
    """The family of a text encoder; None for a model that is none."""
    return FAMILIES.get(config.model_type)


def known(model: PreTrainedModel) -> Family:
    """The family of `model`, a text encoder that was taken in."""
    return FAMILIES[model.config.model_type]


def graph_inputs(config: PretrainedConfig) -> tuple[str, ...]:
    """The inputs of a model's graph. With one token type, its zeros say nothing, and the model adds them itself."""
    typed = FAMILIES[config.model_type].token_types and config.type_vocab_size > 1
    return ("input_ids", "attention_mask", *(("token_type_ids",) if typed else ()))


def positions(config: PretrainedConfig) -> int:
    """The most tokens that a text may have."""
    taken = (config.pad_token_id or 0) + 1 if FAMILIES[config.model_type].positions_after_padding else 0
    return int(config.max_position_embeddings) - taken


def layers_of(model: PreTrainedModel) -> list[Any]:
    """The layers of a text encoder in their order; layers that are used again stand here once."""
    return [layer for _, layer in matching(model.base_model, known(model).layers)]


def embeddings_of(model: PreTrainedModel) -> list[nn.Module]:
    """The modules of `Family.embeddings` that this model has."""
    return [module for path in known(model).embeddings for _, module in matching(model.base_model, path)]


def matching(module: nn.Module, path: str) -> list[tuple[str, Any]]:
    """The modules below `module` at `path`, where `N` stands for a number, with their names."""
    pattern = r"\.".join(r"\d+" if part == "N" else re.escape(part) for part in path.split("."))
    return [(name, found) for name, found in module.named_modules() if re.fullmatch(pattern, name)]


def require_freezable(config: PretrainedConfig, frozen_layers: int, there: int | None = None) -> None:
    """Raise StepError unless a model has so many first layers to freeze. `there`: those of a student."""
    family = family_of(config)
    if not frozen_layers:
        return
    if family is not None and family.shared_layers:
        raise StepError(
            f"frozen_layers must be 0 for {family.title}, whose layers share their weights, got {frozen_layers}; set "
            "train_embeddings = false instead"
        )
    there = there if there is not None else 0 if family is None else config.num_hidden_layers
    if frozen_layers > there:
        raise StepError(
            f"frozen_layers must be at most the number of the text encoder's layers, got {frozen_layers} for a model "
            f"with {there}; freeze fewer"
        )


def require_choosable(config: PretrainedConfig, layers: Sequence[int], of: str = "the teacher") -> None:
    """Raise StepError unless a student can start from these layers of a model, which errors call `of`."""
    family = FAMILIES[config.model_type]
    if family.shared_layers:
        raise StepError(
            f"distill: the layers of {family.title} share their weights and cannot be chosen one by one; leave the "
            "step out, and prune or quantize instead"
        )
    if any(not 0 <= layer < config.num_hidden_layers for layer in layers):
        raise StepError(
            f"distill: layers {list(layers)} must lie in 0..{config.num_hidden_layers - 1}, the layers of {of}"
        )
    if config.model_type == "modernbert":
        global_every(config, layers)


def global_every(config: PretrainedConfig, layers: Sequence[int]) -> int:
    """ModernBERT's `global_attn_every_n_layers` of a student from these layers.

    Every n-th layer of a model looks at the whole text, the others at a window, and the first has no norm of its own.
    Raises StepError when no n gives each layer what it has in the teacher.
    """
    of_teacher = config.global_attn_every_n_layers
    wanted = [layer % of_teacher == 0 for layer in layers]
    if layers[0] == 0 and 0 not in layers[1:]:
        for every in range(1, len(layers) + 1):
            if [place % every == 0 for place in range(len(layers))] == wanted:
                return every
    raise StepError(
        f"distill: layers {list(layers)} must start with 0 and have global attention in every n-th place; every "
        f"{of_teacher}th layer of this {FAMILIES['modernbert'].title} has it, so take a start such as "
        f"{list(range(of_teacher + 1))}, or {list(range(0, config.num_hidden_layers, of_teacher))}"
    )
