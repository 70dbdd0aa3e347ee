"""Prune whole attention heads, feed-forward units or channels, so that shapes shrink; then train to recover.

Importance is measured on data: the first-order Taylor term |sum(weight x gradient)| of a group (Molchanov et al. 2019,
arXiv:1906.10771; for heads, Michel et al. 2019, arXiv:1905.10650). The least important groups are removed. Channels are
removed along the dependency graph of torch-pruning (Fang et al. 2023, arXiv:2301.12900).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PreTrainedModel

from optimize.data.inputs import Prepared, Preparer, shuffled_batches
from optimize.errors import StepError
from optimize.models.distillation import DistillationConfig, distillation_loss
from optimize.models.training import label_loss, train
from optimize.progress import console, progress
from optimize.steps.step import Step, StepContext


class Prune(DistillationConfig, Step):
    """Shares to remove: `heads_share` and `feed_forward_share` of every BERT layer, `channels_share` of a ResNet's.

    The remaining fields configure the recovery training, which follows the teacher as distilling does.
    """

    step: Literal["prune"] = "prune"

    place: ClassVar[int] = 2

    heads_share: float = Field(default=0.0, ge=0, lt=1)
    feed_forward_share: float = Field(default=0.0, ge=0, lt=1)
    channels_share: float = Field(default=0.0, ge=0, lt=1)
    channels_multiple: int = Field(default=16, ge=1)
    """The number of channels kept is a multiple of this: integer convolutions compute blocks of 16, so 12 cost as much
    as 16."""
    importance_size: int = Field(default=512, ge=1)
    """Number of training items that importance is measured on."""

    @property
    def does_nothing(self) -> bool:
        return not (self.heads_share or self.feed_forward_share or self.channels_share)

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        data, preparer, seed = context.prepare("train"), context.preparer, context.seed
        pruned = prune(context.load(source), self, data=data, preparer=preparer, seed=seed)
        loss = distillation_loss(context.teacher_outputs(self), self, label_loss(self, pruned, data))
        recovered = train(
            pruned,
            data,
            preparer,
            self,
            loss=loss,
            seed=seed,
            title="recover",
            resume=context.resume,
            hidden_states=True,
        )
        context.save(recovered, output)


def prune(model: PreTrainedModel, config: Prune, *, data: Prepared, preparer: Preparer, seed: int) -> PreTrainedModel:
    """A smaller copy of `model`, not yet recovered. Raises StepError when `config` removes nothing from it."""
    if hasattr(model.config, "depths"):
        if not config.channels_share:
            raise StepError("prune: a ResNet needs `channels_share` above 0, the share of channels that goes")
        pruned = _prune_channels(copy.deepcopy(model), config, data, preparer, seed)
    elif not (config.heads_share or config.feed_forward_share):
        raise StepError("prune: a BERT needs `heads_share` or `feed_forward_share` above 0")
    else:
        pruned = _prune_bert(copy.deepcopy(model), config, data, preparer, seed)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, pruned))
    if after == before:
        raise StepError(
            "prune: the shares are so small that rounding to whole heads, units or multiples of `channels_multiple` "
            "leaves everything; ask for more"
        )
    # Shares are rounded to whole groups, so report what was removed.
    console.print(f"prune: {1 - after / before:.1%} of the parameters went")
    return pruned


def _prune_bert(model: Any, config: Prune, data: Prepared, preparer: Preparer, seed: int) -> PreTrainedModel:
    layers = model.base_model.encoder.layer
    heads = [torch.zeros(layer.attention.self.num_attention_heads) for layer in layers]
    units = [torch.zeros(layer.intermediate.dense.out_features) for layer in layers]
    for _ in _backward_passes(model, config, data, preparer, seed):
        for index, layer in enumerate(layers):
            heads[index] += _taylor(layer.attention.output.dense.weight, dim=1, groups=len(heads[index]))
            units[index] += _taylor(layer.output.dense.weight, dim=1, groups=len(units[index]))
    gone = {index: _least(score, config.heads_share) for index, score in enumerate(heads)}
    model.prune_heads({index: chosen for index, chosen in gone.items() if chosen})
    for layer, score in zip(layers, units, strict=True):
        _keep_units(layer, _most(score, config.feed_forward_share))
    model.config.intermediate_size = layers[0].intermediate.dense.out_features
    nn.Module.eval(model)
    return cast(PreTrainedModel, model)


def _keep_units(layer: Any, kept: Tensor) -> None:
    first, second = layer.intermediate.dense, layer.output.dense
    first.weight, first.bias = nn.Parameter(first.weight[kept].detach()), nn.Parameter(first.bias[kept].detach())
    second.weight = nn.Parameter(second.weight[:, kept].detach())
    first.out_features = second.in_features = len(kept)


def _prune_channels(model: Any, config: Prune, data: Prepared, preparer: Preparer, seed: int) -> PreTrainedModel:
    import torch_pruning as tp

    for _ in _backward_passes(model, config, data, preparer, seed, keep_gradients=True):
        pass
    ignored = [module for name, module in model.named_modules() if _must_stay(model, name, module)]
    # The pruner traces a call with one tensor.
    example = preparer.tensors([data.items[0]])["pixel_values"]
    pruner = tp.pruner.BasePruner(
        model,
        example,
        importance=tp.importance.GroupTaylorImportance(),
        pruning_ratio=config.channels_share,
        ignored_layers=ignored,
        round_to=config.channels_multiple,
        output_transform=lambda output: output.logits,
    )
    pruner.step()
    model.zero_grad(set_to_none=True)
    model.config.pruned = True
    nn.Module.eval(model)
    return cast(PreTrainedModel, model)


def _must_stay(model: Any, name: str, module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True  # its outputs are the labels
    # Shortcuts without parameters (option A) fix the widths of the groups.
    return model.config.model_type == "cifar_resnet" and (name == "conv1" or name.endswith("conv2"))


def _backward_passes(
    model: Any,
    config: Prune,
    data: Prepared,
    preparer: Preparer,
    seed: int,
    keep_gradients: bool = False,
) -> Iterator[None]:
    """Yield after each batch's backward pass; with `keep_gradients` gradients add up over the batches."""
    model.eval()
    model.zero_grad(set_to_none=True)
    seen = 0
    on_labels = label_loss(config, model, data)
    total = min(config.importance_size, len(data))
    with progress("importance", total=total) as advance:
        for indices in shuffled_batches(data, config.batch_size, np.random.default_rng(seed)):
            if seen >= total:
                break
            output = model(**preparer.tensors(data.take(indices)))
            torch.autograd.backward(on_labels(output, torch.from_numpy(data.targets[indices]), indices, 0))
            yield
            if not keep_gradients:
                model.zero_grad(set_to_none=True)
            seen += len(indices)
            advance(len(indices))


def _taylor(weight: Tensor, *, dim: int, groups: int) -> Tensor:
    """|sum(weight x gradient)| over equal groups of slices along `dim`; [groups]."""
    assert weight.grad is not None, "importance needs a backward pass"
    terms = (weight * weight.grad).detach().sum(dim=1 - dim)
    return terms.reshape(groups, -1).sum(dim=1).abs()


def _least(score: Tensor, share: float) -> list[int]:
    return sorted(torch.argsort(score)[: int(len(score) * share)].tolist())


def _most(score: Tensor, share: float) -> Tensor:
    return torch.sort(torch.argsort(score, descending=True)[: len(score) - int(len(score) * share)]).values
