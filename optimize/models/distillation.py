"""The loss of a student that follows the teacher's outputs.

Soft targets are those of Hinton et al. 2015 (arXiv:1503.02531). Hidden states are those of Patient Knowledge
Distillation (Sun et al. 2019, arXiv:1908.09355): one normalised vector for each item and layer. For text it is the
first token's state, for a ResNet the mean over height and width of a group's output.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn import functional as F

from optimize.data.inputs import Augmentation
from optimize.models.teacher_outputs import TeacherOutputs, pooled_states
from optimize.models.training import Loss, TrainingConfig, cross_entropy


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


def distillation_loss(teacher: TeacherOutputs, config: DistillationConfig, on_labels: Loss = cross_entropy) -> Loss:
    """The loss of a student; `on_labels` is its part on labels."""

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
    for place, followed in teacher.hidden.items():
        state = student[place]
        wanted = torch.from_numpy(followed[view, indices]).to(state.device)
        gap = F.normalize(state, dim=-1) - F.normalize(wanted, dim=-1)
        terms.append(gap.pow(2).sum(dim=-1).mean())
    return torch.stack(terms).sum() / len(student)
