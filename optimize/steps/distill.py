"""Distill: a student with fewer layers learns from the teacher's soft targets and hidden states.

A BERT student starts from chosen layers of the teacher (DistilBERT, Sanh et al. 2019, arXiv:1910.01108). A ResNet
student starts from chosen blocks of the teacher's groups, or from weights of its own.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from optimize.data.inputs import Prepared, Preparer
from optimize.errors import StepError
from optimize.models.distillation import DistillationConfig, TeacherOutputs, distillation_loss
from optimize.models.training import train


class DistillConfig(DistillationConfig):
    """`layers` (text): the teacher's layers that the student starts from. `depths` (image): blocks of each group."""

    step: Literal["distill"] = "distill"
    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    depths: tuple[int, ...] | None = Field(default=None, min_length=1)
    student: Path | None = None
    """A state dict of a CIFAR ResNet whose blocks the student starts from instead of the teacher's (image)."""
    control: bool = True
    """Also train the same student on labels alone, to show what distilling gave."""


def distill(
    student: PreTrainedModel,
    config: DistillConfig,
    *,
    teacher_outputs: TeacherOutputs | None,
    data: Prepared,
    preparer: Preparer,
    seed: int,
    resume: Path,
) -> PreTrainedModel:
    """Train `student` in place. Without `teacher_outputs` it is the control: the same epochs on labels alone."""
    if teacher_outputs is None:
        plain = config.model_copy(update={"mixup": False})  # labels say nothing of a mixture
        return train(student, data, preparer, plain, seed=seed, title="control", resume=resume)
    loss = distillation_loss(teacher_outputs, config)
    return train(
        student, data, preparer, config, loss=loss, seed=seed, title="distill", resume=resume, hidden_states=True
    )


def make_student(teacher: PreTrainedModel, config: DistillConfig) -> PreTrainedModel:
    """A shallower copy of `teacher`, built from the layers or blocks that `config` names.

    Raises StepError when it names layers that the teacher lacks, or none for this architecture.
    """
    require_fitting(teacher.config, config)
    if config.depths is not None and hasattr(teacher.config, "depths"):
        return _shallower_resnet(teacher, config.depths)
    assert config.layers is not None
    return _shallower_bert(teacher, config.layers)


def require_fitting(teacher: PretrainedConfig, config: DistillConfig) -> None:
    """Raise StepError when `config` names layers or blocks that the teacher lacks, or none for its architecture."""
    if hasattr(teacher, "depths"):
        depths, there = config.depths, tuple(teacher.depths)
        if depths is None:
            raise StepError("distill: a ResNet student needs `depths`, the number of blocks in each group")
        if len(depths) != len(there) or not all(1 <= want <= have for want, have in zip(depths, there, strict=True)):
            raise StepError(f"distill: depths {list(depths)} must name 1 up to {list(there)} blocks for each group")
    elif config.layers is None:
        raise StepError("distill: a BERT student needs `layers`, the teacher's layers that it starts from")
    elif any(not 0 <= layer < teacher.num_hidden_layers for layer in config.layers):
        raise StepError(
            f"distill: layers {list(config.layers)} must lie in 0..{teacher.num_hidden_layers - 1}, the layers of the "
            "teacher"
        )


def _shallower_bert(teacher: PreTrainedModel, layers: tuple[int, ...]) -> PreTrainedModel:
    student = copy.deepcopy(teacher)
    encoder = student.base_model.encoder
    encoder.layer = nn.ModuleList([encoder.layer[index] for index in layers])
    student.config.num_hidden_layers = len(layers)
    return student


def _shallower_resnet(teacher: PreTrainedModel, depths: tuple[int, ...]) -> PreTrainedModel:
    there = tuple(teacher.config.depths)
    student = copy.deepcopy(teacher)
    for group, (want, have) in enumerate(zip(depths, there, strict=True)):
        # The first block changes the shape and always stays; the others are taken evenly from the rest, the last too.
        chosen = [0, *np.linspace(have - 1, 1, want - 1).round().astype(int)[::-1]]
        blocks = _group(student, group)
        kept = [blocks[index] for index in chosen]
        _set_group(student, group, nn.Sequential(*kept))
    student.config.depths = list(depths)
    return student


def _group(model: PreTrainedModel, group: int) -> nn.Sequential:
    if model.config.model_type == "cifar_resnet":
        return model.get_submodule(f"layer{group + 1}")  # type: ignore[return-value]
    return model.base_model.encoder.stages[group].layers  # type: ignore[no-any-return]


def _set_group(model: PreTrainedModel, group: int, blocks: nn.Sequential) -> None:
    if model.config.model_type == "cifar_resnet":
        setattr(model, f"layer{group + 1}", blocks)
    else:
        model.base_model.encoder.stages[group].layers = blocks
