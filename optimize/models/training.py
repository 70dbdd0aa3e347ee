"""The training loop of fine-tuning, distillation and recovery: seeded, and resumable."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn
from transformers import PreTrainedModel, get_cosine_schedule_with_warmup

from optimize.data.inputs import Augmentation, Prepared, Preparer, batch_sizes, collect, shuffled_batches
from optimize.models.class_weights import ClassWeights, weights_of
from optimize.models.device import answering_batch, learning, move, training_device
from optimize.models.layers import freeze
from optimize.models.training_state import Place, TrainingState
from optimize.progress import console, progress
from serving.arrays import Logits

Loss = Callable[[Any, Tensor, NDArray[np.int64], int], Tensor]
"""(model output, targets [batch], indices [batch], view) -> scalar"""


class TrainingConfig(BaseModel):
    """Length and pace of a training. The epochs go through `views` augmented views in turn."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(default=32, ge=1)
    gpu_batch_size: int | None = Field(default=None, ge=1, exclude_if=lambda size: size is None)
    """The same on a GPU, which is faster in large batches; None for no other. The learning rate must suit both."""
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = Field(default=0.01, ge=0)
    warmup_share: float = Field(default=0.1, ge=0, le=1)
    crop: int = Field(default=0, ge=0)
    flip: bool = False
    views: int = Field(default=1, ge=1)
    train_embeddings: bool = True
    """False freezes a text encoder's word embeddings: most of its values, and half the time of a training step."""
    frozen_layers: int = Field(default=0, ge=0)
    """How many of a text encoder's first layers stay as they are, with all embeddings. They take no backward pass."""
    class_weights: ClassWeights | None = Field(default=None, exclude_if=lambda weights: weights is None)
    """How much a row of each label counts in the loss on labels; rare labels are else outvoted by the frequent ones."""

    @model_validator(mode="after")
    def _views_are_seen(self) -> Self:
        if (self.crop or self.flip) and self.views == 1:
            raise ValueError("crop and flip need views of at least 2: the first view is the image itself")
        return self

    def batch_size_on(self, device: torch.device) -> int:
        """The rows of a batch on a device."""
        return self.gpu_batch_size or self.batch_size if device.type == "cuda" else self.batch_size

    @property
    def image_views(self) -> tuple[str, ...]:
        """The names of the fields that ask for views of an image."""
        return tuple(name for name in ("crop", "flip") if getattr(self, name))

    def augmentation(self, seed: int) -> Augmentation:
        return Augmentation(crop=self.crop, flip=self.flip, seed=seed)


def cross_entropy(output: Any, targets: Tensor, _indices: NDArray[np.int64], _view: int) -> Tensor:
    """The plain loss on the data's own labels."""
    return loss_on_labels(output.logits, targets)


def loss_on_labels(logits: Tensor, targets: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross entropy of one label an item; of label sets bool [items, labels] the mean of each label's binary one.

    `weight` [labels]: how much an item with the label counts.
    """
    if targets.dtype == torch.bool:
        return nn.functional.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), pos_weight=weight)
    return nn.functional.cross_entropy(logits, targets, weight=weight)


def label_loss(config: TrainingConfig, model: PreTrainedModel, data: Prepared) -> Loss:
    """The loss on the data's own labels, in which the rows of a label count as `config.class_weights` says."""
    labels = tuple(name for _, name in sorted((model.config.id2label or {}).items()))
    weights = weights_of(config.class_weights, data.targets, labels)
    if weights is None:
        return cross_entropy
    weight = torch.from_numpy(weights).float()

    def weighted(output: Any, targets: Tensor, _indices: NDArray[np.int64], _view: int) -> Tensor:
        return loss_on_labels(output.logits, targets, weight.to(targets.device))

    return weighted


def train(
    model: PreTrainedModel,
    data: Prepared,
    preparer: Preparer,
    config: TrainingConfig,
    *,
    loss: Loss | None = None,
    seed: int,
    title: str,
    resume: Path | None = None,
    hidden_states: bool = False,
) -> PreTrainedModel:
    """Train `model` in place, on the GPU when there is one, and return it on the CPU in evaluation mode.

    A GPU that can do so computes in bf16. The order of rows and their views follow the seed on every device.

    The state is kept in the file `resume`, after each epoch and every few minutes. A run that finds the file goes on
    from there and removes it at the end, so each configuration needs a file of its own. Without a `loss`, the data's
    labels are learned. `hidden_states` asks the model for them, for a loss that needs them.
    """
    loss = loss or label_loss(config, model, data)
    torch.manual_seed(seed)
    device = training_device()
    move(model, device)
    _freeze(model, config)
    size = config.batch_size_on(device)
    if resume is not None and size != config.batch_size:
        resume = resume.with_name(f"{resume.name}-{size}")  # batches of another size are counted otherwise
    batches = len(batch_sizes(data, size))
    optimizer = _optimizer(model, config)
    schedule = _schedule(optimizer, config, batches * config.epochs)
    state = TrainingState(resume, {"model": model, "optimizer": optimizer, "schedule": schedule})
    first = state.restore()
    if any(first):
        within = f" and {first.batch} of {batches} batches" if first.batch else ""
        console.print(f"{title}: going on after epoch {first.epoch} of {config.epochs}{within}")
    augmentation = config.augmentation(seed)
    with progress(title, batches * config.epochs, start=first.epoch * batches + first.batch) as advance:
        for epoch in range(first.epoch, config.epochs):
            model.train()
            torch.manual_seed(seed + epoch)
            view, done = epoch % config.views, first.batch if epoch == first.epoch else 0
            if done:
                state.restore_generators()
            shuffled = shuffled_batches(data, size, np.random.default_rng([seed, epoch]))
            for number, indices in enumerate(islice(shuffled, done, None), start=done + 1):
                inputs = augmented_tensors(data, preparer, augmentation, indices, view)
                inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
                with learning(device):
                    output = model(**inputs, output_hidden_states=hidden_states)
                    value = loss(output, torch.from_numpy(data.targets[indices]).to(device), indices, view)
                _take_step(model, value, optimizer, schedule)
                advance(1)
                state.keep_now_and_then(Place(epoch, number))
            state.keep(Place(epoch + 1))
    state.remove()
    move(model, torch.device("cpu"))
    model.requires_grad_(True)
    nn.Module.eval(model)
    return model


def _take_step(model: nn.Module, value: Tensor, optimizer: torch.optim.Optimizer, schedule: Any) -> None:
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(value)
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()


def augmented_tensors(
    data: Prepared, preparer: Preparer, augmentation: Augmentation, indices: NDArray[np.int64], view: int
) -> dict[str, Tensor]:
    """One batch of one view, by the names of the model's arguments."""
    inputs = preparer.tensors(data.take(indices))
    if "pixel_values" in inputs:
        pixels = augmentation.apply(inputs["pixel_values"], indices, view, len(data))
        if augmentation.mixup and view:
            partners, shares = augmentation.partners(indices, view, len(data))
            others = preparer.tensors(data.take(partners))["pixel_values"]
            pixels = torch.lerp(augmentation.apply(others, partners, view, len(data)), pixels, shares)
        inputs["pixel_values"] = pixels
    return inputs


def predict(model: PreTrainedModel, data: Prepared, preparer: Preparer, batch_size: int = 64) -> Logits:
    """Logits float32 [items, labels] in the order of `data`."""
    device = training_device()
    move(model, device)

    @torch.inference_mode()
    def run(indices: NDArray[np.int64]) -> NDArray[np.float32]:
        items = data.take(indices)
        output = model(**{name: tensor.to(device) for name, tensor in preparer.tensors(items).items()})
        return preparer.merged(output.logits.cpu().numpy(), items)

    logits = collect(data, answering_batch(batch_size, device), run)
    model.cpu()
    return logits


def _freeze(model: PreTrainedModel, config: TrainingConfig) -> None:
    if not config.train_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    freeze(model, config.frozen_layers)


def _optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    # Norms and biases have no weight decay, as in BERT's and ResNet's own recipes.
    matrices = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=config.learning_rate)


def _schedule(optimizer: torch.optim.Optimizer, config: TrainingConfig, steps: int) -> Any:
    return get_cosine_schedule_with_warmup(optimizer, int(steps * config.warmup_share), steps)
