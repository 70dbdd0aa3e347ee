"""Take in the checkpoint of a recipe, and refuse what its steps cannot work on before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from optimize.input_settings import say_of_images
from optimize.kept import Keep
from optimize.models.checkpoint import CheckpointConfig, OnnxCheckpoint, fetch_model
from optimize.models.graph_model import GraphModel
from optimize.models.heads import HeadRules
from optimize.models.image_checkpoint import require_channels
from optimize.models.onnx_checkpoint import TextInputs, take_in_graph
from optimize.own_student import own_student
from optimize.recipe import Recipe
from serving.model.artifact import ImageSettings


def take_in(
    recipe: Recipe, labels: tuple[str, ...], image: ImageSettings | None, *, root: Path, keep: Keep
) -> tuple[PreTrainedModel, Path | None]:
    """The recipe's checkpoint with a head for `labels`, and the folder of its tokeniser (None for images).

    `keep` gives the place of a student that was taken in. Raises CheckpointError, and StepError when a step of the
    recipe cannot work on it.
    """
    model: PreTrainedModel
    torch.manual_seed(recipe.seed)
    if isinstance(recipe.checkpoint, OnnxCheckpoint):
        model, tokenizer = _graph(recipe, recipe.checkpoint, labels, image, root)
    else:
        model, tokenizer = fetch_model(
            recipe.checkpoint,
            recipe.task,
            labels,
            root,
            fresh_head=bool(recipe.teacher),
            labels_given=recipe.data.labels is not None,
            multi_label=recipe.data.multi_label,
        )
    if image is not None:
        say_of_images(recipe, root, image)
        require_channels(model.config, image)

    def student(source: CheckpointConfig) -> PretrainedConfig:
        taken: PretrainedConfig = AutoConfig.from_pretrained(
            own_student(source, recipe, labels, image, root=root, keep=keep)
        )
        return taken

    require_steps(recipe, model if isinstance(model, GraphModel) else model.config, student)
    return model, tokenizer


def require_steps(
    recipe: Recipe, brought: GraphModel | PretrainedConfig, student: Callable[[CheckpointConfig], PretrainedConfig]
) -> None:
    """Raise StepError when a step cannot work on what was brought, or on the checkpoint of its own that it starts from.

    `student` gives the architecture of such a checkpoint.
    """
    for steps in (recipe.teacher, *recipe.possible_stages):
        worked_on = brought
        for step in steps:
            if step.starts_from is not None:
                worked_on = student(step.starts_from)
            if isinstance(worked_on, GraphModel):
                step.require_graph(worked_on)
            else:
                step.require_fitting(worked_on)


def _graph(
    recipe: Recipe, checkpoint: OnnxCheckpoint, labels: tuple[str, ...], image: ImageSettings | None, root: Path
) -> tuple[GraphModel, Path | None]:
    files = checkpoint.files(root)
    rules = HeadRules(
        trust_order=checkpoint.trust_label_order,
        labels_given=recipe.data.labels is not None,
        multi_label=recipe.data.multi_label,
    )
    inputs = TextInputs(recipe.text.max_tokens, recipe.data.pairs) if image is None else image
    return take_in_graph(files, recipe.task, labels, rules, inputs), files.tokenizer if image is None else None
