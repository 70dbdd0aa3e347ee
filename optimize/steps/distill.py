"""Distill the teacher into a student with fewer layers, which learns from its soft targets and hidden states.

A text encoder's student starts from chosen layers of the teacher (DistilBERT, Sanh et al. 2019, arXiv:1910.01108), a
ResNet student from chosen blocks of the teacher. Either may start from a checkpoint of its own instead, also of another
family: soft targets need the same labels alone, no shared tokeniser.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from optimize.data.inputs import Prepared, Preparer
from optimize.errors import StepError
from optimize.models.checkpoint import CheckpointConfig, StateDictCheckpoint, local_source
from optimize.models.distillation import DistillationConfig, distillation_loss
from optimize.models.families import require_choosable, require_freezable
from optimize.models.graph_model import GraphModel
from optimize.models.image_families import image_family
from optimize.models.layers import with_layers
from optimize.models.saved import Task
from optimize.models.teacher_outputs import TeacherOutputs
from optimize.models.training import label_loss, train
from optimize.results import Stage
from optimize.steps.step import Step, StepContext


def _form(student: Any) -> str:
    return "path" if isinstance(student, str | Path) else "checkpoint"


Student = Annotated[Annotated[Path, Tag("path")] | Annotated[CheckpointConfig, Tag("checkpoint")], Discriminator(_form)]


class Distill(DistillationConfig, Step):
    """`layers` (text): layers of the teacher, or of the student's own checkpoint, that the student starts from.

    `depths` (image): how many blocks of each group.
    """

    step: Literal["distill"] = "distill"

    place: ClassVar[int] = 1

    layers: tuple[int, ...] | None = Field(default=None, min_length=1)
    depths: tuple[int, ...] | None = Field(default=None, min_length=1)
    student: Student | None = None
    """A checkpoint that the student starts from instead of the teacher, with a tokeniser of its own for texts. A path
    names a state dict of a ResNet whose groups are those of the teacher, so that its hidden states are followed too."""
    control: bool = True
    """Also train the same student on labels alone, to show what distilling gains."""

    @model_validator(mode="before")
    @classmethod
    def _follows_no_hidden_states(cls, given: Any) -> Any:
        """Another value as the default for a checkpoint of its own: its hidden states mean other things."""
        if isinstance(given, Mapping) and given.get("student") is not None and _form(given["student"]) == "checkpoint":
            return {"hidden_weight": 0.0, **given}
        return given

    @model_validator(mode="after")
    def _compares_like_with_like(self) -> Self:
        if self.is_unrelated and self.hidden_weight:
            raise ValueError(
                "hidden_weight must be 0 for a student from a checkpoint of its own, whose hidden states mean other "
                "things than the teacher's; leave it out"
            )
        return self

    @property
    def starts_from(self) -> CheckpointConfig | None:
        if isinstance(self.student, Path):
            return StateDictCheckpoint(source="state-dict", path=self.student)
        return self.student

    @property
    def is_unrelated(self) -> bool:
        return self.student is not None and not isinstance(self.student, Path)

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        student = self._student(context)
        context.save(self._trained(student, context, context.teacher_outputs(self, student)), output)

    def companions(self, stage: Stage, task: Task) -> tuple[Step, ...]:
        return (Control(**self.model_dump(exclude_unset=True)),) if self.control else ()

    def without_companions(self) -> Distill:
        return self.model_copy(update={"control": False})

    def require_fitting(self, model: PretrainedConfig) -> None:
        require_fitting(model, self)

    def require_graph(self, graph: GraphModel) -> None:
        raise StepError(
            "distill: a student cannot start from the layers of a ready ONNX graph; name a checkpoint of its own, "
            'student = { source = "folder", path = "..." }'
        )

    def files(self, root: Path) -> tuple[Path, ...]:
        source = local_source(self.starts_from, root) if self.starts_from else None
        return (source,) if source else ()

    def key_fields(self) -> dict[str, Any]:
        return self.model_dump(mode="json", exclude={"control"})

    def _trained(
        self, student: PreTrainedModel, context: StepContext, teacher_outputs: TeacherOutputs | None
    ) -> PreTrainedModel:
        return distill(
            student,
            self,
            teacher_outputs=teacher_outputs,
            data=context.prepare("train"),
            preparer=context.preparer,
            seed=context.seed,
            resume=context.resume,
        )

    def _student(self, context: StepContext) -> PreTrainedModel:
        return make_student(context.load(context.student or context.teacher.path), self)


class Control(Distill):
    """The student of a distill step, trained on labels alone."""

    @property
    def name(self) -> str:
        return "control"

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        context.save(self._trained(self._student(context), context, None), output)

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
        student,
        data,
        preparer,
        config,
        loss=loss,
        seed=seed,
        title="distill",
        resume=resume,
        hidden_states=bool(teacher_outputs.hidden),
    )


def make_student(start: PreTrainedModel, config: Distill) -> PreTrainedModel:
    """A shallower copy of `start`, the teacher or a checkpoint of its own, made of the layers that `config` names.

    A checkpoint of its own is the student as it is where none are named. Raises StepError when `start` lacks the layers
    or blocks, or when a student of the teacher names none.
    """
    require_fitting(start.config, config)
    if hasattr(start.config, "depths"):
        return start if config.depths is None else _shallower_resnet(start, config.depths)
    return start if config.layers is None else with_layers(start, config.layers)


def require_fitting(start: PretrainedConfig, config: Distill) -> None:
    """Raise StepError when `start` lacks the layers or blocks of `config`, or a student of the teacher names none."""
    if hasattr(start, "depths"):
        depths, there = config.depths, tuple(start.depths)
        if depths is None and config.student is not None:
            return
        if depths is None:
            raise StepError("distill: a ResNet student needs `depths`, the number of blocks in each group")
        if len(depths) != len(there) or not all(1 <= want <= have for want, have in zip(depths, there, strict=True)):
            raise StepError(f"distill: depths {list(depths)} must name 1 up to {list(there)} blocks for each group")
    elif config.layers is not None:
        of = "the teacher" if config.student is None else "the student's checkpoint"
        require_choosable(start, config.layers, of=of)
        require_freezable(start, config.frozen_layers, there=len(config.layers))
    elif config.student is not None:
        require_freezable(start, config.frozen_layers)
    else:
        raise StepError("distill: a text encoder's student needs `layers`, the teacher's layers that it starts from")


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
