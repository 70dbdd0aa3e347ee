"""Distill the teacher into a student with fewer layers, which learns from its soft targets and hidden states.

A text encoder's student starts from chosen layers of the teacher (DistilBERT, Sanh et al. 2019, arXiv:1910.01108). A
ResNet student starts from chosen blocks of the teacher, or from a state dict of its own.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from optimize.data.inputs import Prepared, Preparer
from optimize.errors import StepError
from optimize.models.checkpoint import StateDictCheckpoint, fetch_model
from optimize.models.distillation import DistillationConfig, TeacherOutputs, distillation_loss
from optimize.models.families import require_choosable, require_freezable
from optimize.models.image_checkpoint import require_channels
from optimize.models.image_families import image_family
from optimize.models.layers import with_layers
from optimize.models.saved import Task
from optimize.models.training import label_loss, train
from optimize.results import Stage
from optimize.steps.step import Step, StepContext
from serving.model.artifact import ImageSettings


class Distill(DistillationConfig, Step):
    """`layers` (text): the teacher's layers that the student starts from. `depths` (image): blocks of each group."""

    step: Literal["distill"] = "distill"

    place: ClassVar[int] = 1

    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    depths: tuple[int, ...] | None = Field(default=None, min_length=1)
    student: Path | None = None
    """A state dict of a ResNet whose blocks the student starts from instead of the teacher's (image)."""
    control: bool = True
    """Also train the same student on labels alone, to show what distilling gains."""

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        context.save(self._trained(context, context.teacher_outputs(self)), output)

    def companions(self, stage: Stage, task: Task) -> tuple[Step, ...]:
        return (Control(**self.model_dump(exclude_unset=True)),) if self.control else ()

    def without_companions(self) -> Distill:
        return self.model_copy(update={"control": False})

    def require_fitting(self, teacher: PretrainedConfig) -> None:
        if self.student is None:
            require_fitting(teacher, self)

    def files(self, root: Path) -> tuple[Path, ...]:
        return (root / self.student,) if self.student else ()

    def key_fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"control"})

    def _trained(self, context: StepContext, teacher_outputs: TeacherOutputs | None) -> PreTrainedModel:
        return distill(
            self._student(context),
            self,
            teacher_outputs=teacher_outputs,
            data=context.prepare("train"),
            preparer=context.preparer,
            seed=context.seed,
            resume=context.resume,
        )

    def _student(self, context: StepContext) -> PreTrainedModel:
        if self.student is None:
            return make_student(context.load(context.teacher.path), self)
        weights = StateDictCheckpoint(source="state-dict", path=self.student)
        labels = context.splits.labels
        student, _ = fetch_model(weights, context.task, labels, context.root, fresh_head=False)
        settings = context.preparer.settings
        assert isinstance(settings, ImageSettings), "a state dict is for images"
        require_channels(student.config, settings)
        return make_student(student, self) if self.depths else student


class Control(Distill):
    """The student of a distill step, trained on labels alone."""

    @property
    def name(self) -> str:
        return "control"

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        context.save(self._trained(context, None), output)

    def companions(self, stage: Stage, task: Task) -> tuple[Step, ...]:
        return ()


def distill(
    student: PreTrainedModel,
    config: Distill,
    *,
    teacher_outputs: TeacherOutputs | None,
    data: Prepared,
    preparer: Preparer,
    seed: int,
    resume: Path,
) -> PreTrainedModel:
    """Train `student` in place and return it: after the teacher, or on labels alone without `teacher_outputs`."""
    if teacher_outputs is None:
        plain = config.model_copy(update={"mixup": False})  # a mixture has no label
        return train(student, data, preparer, plain, seed=seed, title="control", resume=resume)
    loss = distillation_loss(teacher_outputs, config, label_loss(config, student, data))
    return train(
        student, data, preparer, config, loss=loss, seed=seed, title="distill", resume=resume, hidden_states=True
    )


def make_student(teacher: PreTrainedModel, config: Distill) -> PreTrainedModel:
    """A shallower copy of `teacher`, made of the layers or blocks that `config` names.

    Raises StepError when the teacher lacks them, or when `config` names none for its architecture.
    """
    require_fitting(teacher.config, config)
    if config.depths is not None and hasattr(teacher.config, "depths"):
        return _shallower_resnet(teacher, config.depths)
    assert config.layers is not None
    return with_layers(teacher, config.layers)


def require_fitting(teacher: PretrainedConfig, config: Distill) -> None:
    """Raise StepError when the teacher lacks the layers or blocks of `config`, or when it names none."""
    if hasattr(teacher, "depths"):
        depths, there = config.depths, tuple(teacher.depths)
        if depths is None:
            raise StepError("distill: a ResNet student needs `depths`, the number of blocks in each group")
        if len(depths) != len(there) or not all(1 <= want <= have for want, have in zip(depths, there, strict=True)):
            raise StepError(f"distill: depths {list(depths)} must name 1 up to {list(there)} blocks for each group")
    elif config.layers is None:
        raise StepError("distill: a text encoder's student needs `layers`, the teacher's layers that it starts from")
    else:
        require_choosable(teacher, config.layers)
        require_freezable(teacher, config.frozen_layers, there=len(config.layers))


def _shallower_resnet(teacher: PreTrainedModel, depths: tuple[int, ...]) -> PreTrainedModel:
    there = tuple(teacher.config.depths)
    student, family = copy.deepcopy(teacher), image_family(teacher.config)
    for group, (want, have) in enumerate(zip(depths, there, strict=True)):
        # The first block changes the shape, so it stays. The others are spread evenly, up to the last block.
        chosen = [0, *np.linspace(have - 1, 1, want - 1).round().astype(int)[::-1]]
        name = family.group_name(group)
        blocks = student.get_submodule(name)
        student.set_submodule(name, nn.Sequential(*(blocks.get_submodule(str(index)) for index in chosen)))
    student.config.depths = list(depths)
    return student
