"""Fine-tune the checkpoint on the recipe's own data. The result is the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from transformers import PretrainedConfig, PreTrainedModel

from optimize.data.inputs import Prepared, Preparer
from optimize.models.families import require_freezable
from optimize.models.training import TrainingConfig, train
from optimize.steps.step import Step, StepContext


class FineTune(TrainingConfig, Step):
    """Trains on the data's labels alone."""

    step: Literal["fine-tune"] = "fine-tune"

    place: ClassVar[int] = 0
    of_teacher: ClassVar[bool] = True

    def require_fitting(self, model: PretrainedConfig) -> None:
        require_freezable(model, self.frozen_layers)

    def carry_out(self, source: Path, output: Path, context: StepContext) -> None:
        model = fine_tune(
            context.load(source),
            self,
            data=context.prepare("train"),
            preparer=context.preparer,
            seed=context.seed,
            resume=context.resume,
        )
        context.save(model, output)


def fine_tune(
    model: PreTrainedModel, config: FineTune, *, data: Prepared, preparer: Preparer, seed: int, resume: Path
) -> PreTrainedModel:
    """Train `model` in place and return it; an interrupted training goes on from the file `resume`."""
    return train(model, data, preparer, config, seed=seed, title="fine-tune", resume=resume)
