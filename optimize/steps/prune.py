"""Prune whole attention heads, feed-forward units or channels, so that shapes shrink; then train to recover.

Importance is measured on data: the first-order Taylor term |sum(weight x gradient)| of a group (Molchanov et al. 2019,
arXiv:1906.10771; for heads, Michel et al. 2019, arXiv:1905.10650). The least important groups are removed. Channels are
removed along the dependency graph of torch-pruning (Fang et al. 2023, arXiv:2301.12900).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from optimize.data.inputs import Prepared, Preparer, shuffled_batches
from optimize.errors import StepError
from optimize.models.attention_heads import attention_output, cut_heads, head_size
from optimize.models.distillation import DistillationConfig, distillation_loss
from optimize.models.families import known, layers_of, require_freezable
from optimize.models.graph_model import GraphModel
from optimize.models.image_families import image_family
from optimize.models.layers import feed_forward_of, keep_units
from optimize.models.training import label_loss, train
from optimize.progress import console, progress
from optimize.steps.step import Step, StepContext


class Prune(DistillationConfig, Step):
    """Shares to remove: `heads_share` and `feed_forward_share` of a text encoder's layers, a ResNet's `channels_share`.

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

    def require_fitting(self, model: PretrainedConfig) -> None:
        require_freezable(model, self.frozen_layers)

    def require_graph(self, graph: GraphModel) -> None:
        raise StepError(
            "prune: a ready ONNX graph has no weights that could be trained to recover; leave the step out, or distill "
            "into a student first"
        )

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        data, preparer, seed = context.prepare("train"), context.preparer, context.seed
        pruned = prune(context.load(source), self, data=data, preparer=preparer, seed=seed)
        outputs = context.teacher_outputs(self, pruned)
        loss = distillation_loss(outputs, self, label_loss(self, pruned, data))
        recovered = train(
            pruned,
            data,
            preparer,
            self,
            loss=loss,
            seed=seed,
            title="recover",
            resume=context.resume,
            hidden_states=bool(outputs.hidden),
        )
        context.save(recovered, output)


def prune(model: PreTrainedModel, config: Prune, *, data: Prepared, preparer: Preparer, seed: int) -> PreTrainedModel:
    """A smaller copy of `model`, not yet recovered. Raises StepError when `config` removes nothing from it."""
    if hasattr(model.config, "depths"):
        if not config.channels_share:
            raise StepError("prune: a ResNet needs `channels_share` above 0, the share of channels that goes")
        pruned = _prune_channels(copy.deepcopy(model), config, data, preparer, seed)
    elif not (config.heads_share or config.feed_forward_share):
        raise StepError("prune: a text encoder needs `heads_share` or `feed_forward_share` above 0")
    else:
        pruned = _prune_encoder(copy.deepcopy(model), config, data, preparer, seed)
    before, after = (sum(p.numel() for p in m.parameters()) for m in (model, pruned))
    if after == before:
        raise StepError(
            "prune: the shares are so small that rounding to whole heads, units or multiples of `channels_multiple` "
            "leaves everything; ask for more"
        )
    # Shares are rounded to whole groups, so report what was removed.
    console.print(f"prune: {1 - after / before:.1%} of the parameters went")
    return pruned


def _prune_encoder(
    model: PreTrainedModel, config: Prune, data: Prepared, preparer: Preparer, seed: int
) -> PreTrainedModel:
    layers = layers_of(model)
    mixers = [attention_output(model, layer) for layer in layers]
    pairs = [pair for layer in layers for pair in feed_forward_of(model, layer)]
    heads = [torch.zeros(mixer.in_features // head_size(model.config)) for mixer in mixers]
    units = [torch.zeros(second.in_features) for _, second in pairs]
    for _ in _backward_passes(model, config, data, preparer, seed):
        for score, mixer in zip(heads, mixers, strict=True):
            score += _taylor(mixer.weight, dim=1, groups=len(score))
        for score, (_, second) in zip(units, pairs, strict=True):
            score += _taylor(second.weight, dim=1, groups=len(score))
    cut_heads(model, {place: _least(score, config.heads_share) for place, score in enumerate(heads)})
    for score, (first, second) in zip(units, pairs, strict=True):
        keep_units(model, first, second, _most(score, config.feed_forward_share))
    setattr(model.config, known(model).feed_forward_width, pairs[0][1].in_features)
    nn.Module.eval(model)
    return model


def _prune_channels(model: Any, config: Prune, data: Prepared, preparer: Preparer, seed: int) -> PreTrainedModel:
    for _ in _backward_passes(model, config, data, preparer, seed, keep_gradients=True):
        pass
    # The pruner traces a call with one tensor.
    example = preparer.tensors([data.items[0]])["pixel_values"]
    modules = dict(model.named_modules())
    fixed = [module for name, module in modules.items() if _must_stay(model, name, module)]
    inside = [module for name, module in modules.items() if _is_inside_groups(modules, name)]
    outside = [module for module in modules.values() if isinstance(module, nn.Conv2d) and module not in inside]
    _take_out(model, example, config.channels_share, config.channels_multiple, ignored=[*fixed, *inside])
    if inside:
        # The pruner rounds within each group of a ResNeXt's convolution: so few channels that none would go.
        multiple = max(1, config.channels_multiple // max(module.groups for module in inside))
        _take_out(model, example, config.channels_share, multiple, ignored=[*fixed, *outside])
    model.zero_grad(set_to_none=True)
    model.config.pruned = True
    nn.Module.eval(model)
    return cast(PreTrainedModel, model)


def _take_out(model: Any, example: Tensor, share: float, multiple: int, *, ignored: list[nn.Module]) -> None:
    """Remove the least important channels in place, by the gradients that the parameters hold."""
    import torch_pruning as tp

    tp.pruner.BasePruner(
        model,
        example,
        importance=tp.importance.GroupTaylorImportance(),
        pruning_ratio=share,
        ignored_layers=ignored,
        round_to=multiple,
        output_transform=lambda output: output.logits,
    ).step()


def _is_inside_groups(modules: Mapping[str, nn.Module], name: str) -> bool:
    """Whether a module is a convolution in groups, or the convolution before it in the same block."""
    beside = modules.get(f"{name.rpartition('.')[0]}.conv2") if name.endswith(("conv1", "conv2")) else None
    return isinstance(beside, nn.Conv2d) and beside.groups > 1


def _must_stay(model: Any, name: str, module: nn.Module) -> bool:
    if isinstance(module, nn.Linear):
        return True  # its outputs are the labels
    return image_family(model.config).must_stay(name)


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
