"""What a step is: a configuration that knows its place in a recipe and carries itself out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from transformers import PretrainedConfig, PreTrainedModel

from optimize.data.inputs import Prepared, Preparer
from optimize.data.splits import SplitName, Splits
from optimize.kept import Keep
from optimize.models.checkpoint import CheckpointConfig
from optimize.models.distillation import DistillationConfig
from optimize.models.graph_model import GraphModel
from optimize.models.saved import Task, load_model, save_model
from optimize.models.teacher_outputs import TeacherOutputs, followed_layers
from optimize.results import Precision, Result, Stage, digest_of


@dataclass(frozen=True, kw_only=True)
class StepContext:
    """What a build gives to a step, beside its source and its output."""

    task: Task
    seed: int
    root: Path
    """Where the recipe's relative paths start."""
    keep: Keep
    """Gives the place of what several steps share, in the build folder."""
    resume: Path
    """Where a training keeps its state."""
    splits: Splits
    preparer: Preparer
    prepare: Callable[[SplitName], Prepared]
    """Returns a split as arrays; never the holdout."""
    teacher: Result
    """The teacher; while the teacher itself is trained, the checkpoint that it starts from."""
    teacher_preparer: Preparer
    """Another than `preparer` where the student brings a tokeniser of its own."""
    teacher_prepare: Callable[[SplitName], Prepared]
    student: Path | None = None
    """The checkpoint that a student of its own starts from; None for a student that is made of the teacher."""
    related: bool = True
    """Whether the student's hidden states can be compared with the teacher's."""
    checkpoint: Path
    """The checkpoint that the role's graphs are exported from."""

    def load(self, folder: Path) -> PreTrainedModel:
        """The model in a checkpoint folder, in evaluation mode on the CPU."""
        return load_model(folder, self.task)

    def save(self, model: PreTrainedModel, folder: Path) -> None:
        """Write a checkpoint folder; a text model gets the tokeniser that its texts are prepared with."""
        save_model(model, folder, self.preparer.folder)

    def teacher_outputs(self, config: DistillationConfig, student: PreTrainedModel) -> TeacherOutputs:
        """What `student` follows: the teacher's outputs on every view of the train split, kept in the build folder.

        They hold no hidden states for a student to which these say nothing.
        """
        kept = self.keep(outputs_name(config, self.teacher, self.splits, self.seed))
        teacher, data, preparer = self.load(self.teacher.path), self.teacher_prepare("train"), self.teacher_preparer
        one = preparer.tensors(data.take([0]))
        followed = followed_layers(teacher, student, one) if self.related and config.hidden_weight else {}
        return TeacherOutputs.compute(teacher, data, preparer, config, self.seed, kept, followed)


def outputs_name(config: DistillationConfig, teacher: Result, splits: Splits, seed: int) -> str:
    """What the outputs that a step follows are kept under."""
    views = {"views": config.views, "crop": config.crop, "flip": config.flip, "mixup": config.mixup}
    key = digest_of([teacher.key, splits.train.digest, views, seed])
    return f"teacher-outputs-{key[:12]}"


class Step(BaseModel, ABC):
    """One step of a recipe: fields are its configuration, class variables say where it belongs.

    A subclass sets `step` to a Literal with the step's name, and stands in `optimize.steps.registry`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str

    place: ClassVar[int]
    """Steps with a lower place come first; steps with the same place may come in either order."""
    of_teacher: ClassVar[bool] = False
    """Whether the step makes the teacher, before expert and screen part."""
    is_variant: ClassVar[bool] = False
    """Whether the result competes with its source, so that the next step starts from the same source."""
    revision: ClassVar[int] = 1
    """Part of the key: raise it when the same configuration comes to write another result."""

    @property
    def name(self) -> str:
        """What the result is called; a recipe has each name once a role."""
        return self.step

    @property
    def graph_precision(self) -> Precision | None:
        """The precision of the ONNX file that the step writes; None when it writes a checkpoint folder."""
        return None

    @property
    def does_nothing(self) -> bool:
        """Whether the configuration leaves the model as it is; a search then leaves the step out."""
        return False

    @property
    def starts_from(self) -> CheckpointConfig | None:
        """The checkpoint of its own that the result starts from; None for a result that is made of its source."""
        return None

    @property
    def is_unrelated(self) -> bool:
        """Whether the result has nothing of the teacher: neither its tokeniser nor hidden states like its own."""
        return False

    @property
    def remedy(self) -> Step | None:
        """A step to carry out from the same source, too, where 16 bits cannot hold this one's result."""
        return None

    @abstractmethod
    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        """Read the checkpoint folder or ONNX file `source` and write `output`. Raises StepError when it cannot."""

    def companions(self, stage: Stage, task: Task) -> tuple[Step, ...]:
        """Steps to carry out from the same source before this one; one that cannot be carried out is left out.

        Nothing starts from their results.
        """
        return ()

    def without_companions(self) -> Step:
        """The same step without its companions."""
        return self

    def require_fitting(self, model: PretrainedConfig) -> None:
        """Raise StepError when the architecture of the model that it works on rules the step out.

        Called before training, with the teacher or the student's own checkpoint.
        """

    def require_graph(self, graph: GraphModel) -> None:
        """Raise StepError when the step cannot work on a ready ONNX graph; called before training."""

    def files(self, root: Path) -> tuple[Path, ...]:
        """Files outside the build folder that the step reads; their content is part of the key."""
        return ()

    def key_fields(self) -> dict[str, Any]:
        """The configuration as JSON values, without what does not change the result."""
        return self.model_dump(mode="json")
