"""About what a run will take on this machine, from a timed step of the checkpoint."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from optimize.models.device import learning, move, training_device
from optimize.models.graph_model import GraphModel

BATCH = 16
ROUNDS = 5
MEASURING_S = 90.0
"""Exports, quantization, timing of graphs and evidence: they hardly depend on the number of rows."""


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds that a checkpoint takes for one row: to answer, and to learn (with the pass backward).

    A ready graph cannot learn, which takes no time.
    """

    answer_s: float
    learn_s: float


def timed(model: PreTrainedModel, inputs: Mapping[str, Any]) -> StepTime:
    """Time the model on one batch [BATCH, ...], on the device that trainings use."""
    device = training_device()
    move(model, device)
    batch = {name: tensor.to(device) for name, tensor in inputs.items()}
    size = len(next(iter(batch.values())))

    def answer() -> None:
        with torch.inference_mode():
            model(**batch)
        _wait(device)

    def learn() -> None:
        with learning(device):
            output = model(**batch)
            value = nn.functional.mse_loss(output.logits.float(), torch.zeros_like(output.logits).float())
        torch.autograd.backward(value)
        model.zero_grad(set_to_none=True)
        _wait(device)

    was_training = model.training
    model.train()
    answer_s = _seconds(answer) / size
    learn_s = 0.0 if isinstance(model, GraphModel) else _seconds(learn) / size
    nn.Module.train(model, was_training)
    move(model, torch.device("cpu"))
    return StepTime(answer_s, learn_s)


def _seconds(call: Any) -> float:
    call()  # the first one also sets things up
    took = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        call()
        took.append(time.perf_counter() - begin)
    return min(took)  # other programs of this machine only add to it


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True, slots=True)
class Trained:
    """One training of a recipe: its epochs, and the seconds that it takes for one row."""

    epochs: int
    learn_s: float


def minutes(step: StepTime, sizes: Mapping[str, int], trainings: Sequence[Trained]) -> float:
    """About how long a run takes: trainings, the teacher's answers, and measurements of some graphs on each set."""
    learning = sum(each.epochs * each.learn_s for each in trainings) * sizes["train"]
    answering = sizes["train"] + 8 * sizes["selection"] + 4 * sizes["certification"] + 8 * sizes["holdout"]
    return (learning + answering * step.answer_s + MEASURING_S) / 60


def about(minutes: float) -> str:
    """A number of minutes in words."""
    if minutes < 1:
        return "less than a minute"
    if minutes < 100:
        return f"about {minutes:.0f} minute{'' if round(minutes) == 1 else 's'}"
    return f"about {minutes / 60:.0f} hours"
