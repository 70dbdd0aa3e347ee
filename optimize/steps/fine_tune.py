"""Fine-tune: train the checkpoint on the recipe's own data. What comes out is the teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from transformers import PreTrainedModel

from optimize.data.inputs import Prepared, Preparer
from optimize.models.training import TrainingConfig, train


class FineTuneConfig(TrainingConfig):
    """Trained on the data's labels alone."""

    step: Literal["fine-tune"] = "fine-tune"


def fine_tune(
    model: PreTrainedModel, config: FineTuneConfig, *, data: Prepared, preparer: Preparer, seed: int, resume: Path
) -> PreTrainedModel:
    """Train `model` in place; resumable through the file `resume`."""
    return train(model, data, preparer, config, seed=seed, title="fine-tune", resume=resume)
