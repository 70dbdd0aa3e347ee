"""The teacher's outputs, computed once and kept, and the loss of a student that follows them.

Soft targets are those of Hinton et al. 2015 (arXiv:1503.02531). Hidden states are those of Patient Knowledge
Distillation (Sun et al. 2019, arXiv:1908.09355): one normalised vector for each item and layer. For text it is the
first token's state, for a ResNet the mean over height and width of a group's output.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel

from optimize.data.inputs import Augmentation, Prepared, Preparer, ordered_batches
from optimize.models.training import Loss, TrainingConfig, augmented_tensors, cross_entropy, move, training_device
from optimize.progress import progress


class DistillationConfig(TrainingConfig):
    """Weights of the loss: soft_weight x soft targets + (1 - soft_weight) x labels + hidden_weight x hidden states."""

    temperature: float = Field(default=2.0, gt=0)
    soft_weight: float = Field(default=0.8, ge=0, le=1)
    hidden_weight: float = Field(default=0.1, ge=0)
    mixup: bool = False
    """Mix the images of a view, so that the teacher also labels the space between the training images."""

    @model_validator(mode="after")
    def _mixtures_have_no_label(self) -> Self:
        if self.mixup and (self.soft_weight < 1 or self.views == 1):
            raise ValueError("mixup needs soft_weight = 1 (a mixture has no label) and views of at least 2")
        return self

    @model_validator(mode="after")
    def _class_weights_weigh_something(self) -> Self:
        if self.class_weights is not None and self.soft_weight == 1:
            raise ValueError("class_weights needs soft_weight below 1: soft targets alone leave labels out of the loss")
        return self

    @property
    def image_views(self) -> tuple[str, ...]:
        return (*super().image_views, *(("mixup",) if self.mixup else ()))

    def augmentation(self, seed: int) -> Augmentation:
        return Augmentation(crop=self.crop, flip=self.flip, mixup=self.mixup, seed=seed)


@dataclass(frozen=True, slots=True)
class TeacherOutputs:
    """`logits` float32 [views, items, labels]; `hidden` has float32 [views, items, width] for each layer or group.

    `hidden` is empty for a student of another family, whose hidden states have no likeness to the teacher's.
    """

    logits: NDArray[np.float32]
    hidden: tuple[NDArray[np.float32], ...]

    @classmethod
    def compute(
        cls, teacher: PreTrainedModel, data: Prepared, preparer: Preparer, config: TrainingConfig, seed: int, kept: Path
    ) -> TeacherOutputs:
        """Run the teacher over every view of `data`, or read the file `kept` (npz) of an earlier run."""
        if kept.exists():
            with np.load(kept) as stored:
                hidden = tuple(stored[f"hidden{i}"] for i in range(len(stored.files) - 1))
                return cls(stored["logits"], hidden)
        views = [_run_view(teacher, data, preparer, config, seed, view) for view in range(config.views)]
        logits = np.stack([view[0] for view in views])
        hidden = tuple(np.stack(layer) for layer in zip(*(view[1] for view in views), strict=True))
        beside = kept.with_name(f"{kept.stem}.partial.npz")
        np.savez(beside, logits=logits, **{f"hidden{i}": layer for i, layer in enumerate(hidden)})
        os.replace(beside, kept)
        return cls(logits, hidden)


@torch.inference_mode()
def _run_view(
    teacher: PreTrainedModel, data: Prepared, preparer: Preparer, config: TrainingConfig, seed: int, view: int
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    rows: list[tuple[NDArray[np.int64], list[Tensor]]] = []
    device = training_device()
    move(teacher, device)
    with progress(f"teacher outputs, view {view + 1}/{config.views}", total=len(data)) as advance:
        for indices in ordered_batches(data, 64):
            inputs = augmented_tensors(data, preparer, config.augmentation(seed), indices, view)
            output = teacher(**{n: tensor.to(device) for n, tensor in inputs.items()}, output_hidden_states=True)
            rows.append((indices, [column.cpu() for column in (output.logits, *pooled_states(output))]))
            advance(len(indices))
    teacher.cpu()
    place = np.argsort(np.concatenate([indices for indices, _ in rows]))
    columns = [torch.cat(parts).numpy()[place] for parts in zip(*(row for _, row in rows), strict=True)]
    return columns[0], columns[1:]


def pooled_states(output: Any) -> list[Tensor]:
    """[batch, width] for each layer without the stem: the first token's state, or the mean over height and width."""
    return [state[:, 0] if state.ndim == 3 else state.mean(dim=(2, 3)) for state in output.hidden_states[1:]]


def distillation_loss(teacher: TeacherOutputs, config: DistillationConfig, on_labels: Loss = cross_entropy) -> Loss:
    """The loss of a student; `on_labels` is its part on labels.

    Layers are matched from the top down; those of different widths are skipped.
    """

    def loss(output: Any, targets: Tensor, indices: NDArray[np.int64], view: int) -> Tensor:
        followed = torch.from_numpy(teacher.logits[view, indices]).to(targets.device) / config.temperature
        divergence = divergence_of_labels if targets.dtype == torch.bool else divergence_of_shares
        soft = divergence(output.logits / config.temperature, followed)
        value = config.soft_weight * config.temperature**2 * soft
        value = value + (1 - config.soft_weight) * on_labels(output, targets, indices, view)
        if config.hidden_weight and teacher.hidden:
            value = value + config.hidden_weight * _hidden_loss(output, teacher, indices, view)
        return value

    return loss


def divergence_of_shares(logits: Tensor, followed: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the softmax shares from those of `followed`, a mean over the items."""
    shares, soft_targets = F.log_softmax(logits, dim=-1), F.log_softmax(followed, dim=-1)
    return F.kl_div(shares, soft_targets, reduction="batchmean", log_target=True)


def divergence_of_labels(logits: Tensor, followed: Tensor) -> Tensor:
    """Divergence of each label's probability (sigmoid) from that of `followed`, a mean over items and labels."""
    soft_targets = torch.sigmoid(followed)
    # What is taken away does not depend on the student; without it the divergence of equal logits would not be 0.
    given, least = (F.binary_cross_entropy_with_logits(each, soft_targets) for each in (logits, followed))
    return given - least


def _hidden_loss(output: Any, teacher: TeacherOutputs, indices: NDArray[np.int64], view: int) -> Tensor:
    student = pooled_states(output)
    terms = [torch.zeros((), device=output.logits.device)]
    for position, state in enumerate(student, start=1):
        followed = teacher.hidden[position * len(teacher.hidden) // len(student) - 1]
        if followed.shape[-1] == state.shape[-1]:
            wanted = torch.from_numpy(followed[view, indices]).to(state.device)
            gap = F.normalize(state, dim=-1) - F.normalize(wanted, dim=-1)
            terms.append(gap.pow(2).sum(dim=-1).mean())
    return torch.stack(terms).sum() / len(student)
