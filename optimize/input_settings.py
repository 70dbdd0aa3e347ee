"""How a recipe's texts or images become arrays: what the recipe says, and what its checkpoint brings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoConfig

from optimize.errors import StepError
from optimize.models.checkpoint import source_path
from optimize.models.families import family_of, graph_inputs, positions
from optimize.models.graph_model import config_in, graph_in, inputs_of
from optimize.models.image_checkpoint import difference, settings_of
from optimize.models.saved import load_tokenizer
from optimize.progress import console
from optimize.recipe import Recipe
from serving.model.artifact import ImageSettings, TextSettings


def text_settings(recipe: Recipe, labels: Sequence[str], folder: Path, *, of_student: bool = False) -> TextSettings:
    """The settings of texts for the checkpoint in `folder`. A student takes no more tokens than it knows positions.

    Raises StepError when the teacher knows fewer positions than the recipe asks for, and for a label to watch that is
    none of `labels`.
    """
    graph = graph_in(folder)
    config = AutoConfig.from_pretrained(folder) if graph is None else config_in(folder)
    # A ready graph of another architecture was run with max_tokens when it was taken in.
    most = recipe.text.max_tokens if family_of(config) is None else positions(config)
    if recipe.text.max_tokens > most and not of_student:
        raise StepError(
            f"text.max_tokens must be at most {most}, the positions that the checkpoint knows, got "
            f"{recipe.text.max_tokens}; lower it"
        )
    if recipe.text.max_tokens > most:
        console.print(
            f"text: the student knows {most} positions, so it reads {most} tokens of a text where the recipe has "
            f"max_tokens = {recipe.text.max_tokens}",
            soft_wrap=True,
        )
    tokenizer = load_tokenizer(folder)
    return TextSettings(
        max_tokens=min(recipe.text.max_tokens, most),
        long_texts=recipe.text.long_texts,
        watched_label=_watched_label(recipe, labels),
        pad_token_id=tokenizer.pad_token_id,
        truncation_side="left" if tokenizer.truncation_side == "left" else "right",
        inputs=graph_inputs(config) if graph is None else inputs_of(graph),
        pairs=recipe.data.pairs,
    )


def image_settings(recipe: Recipe, root: Path) -> ImageSettings | None:
    """How images become arrays: as the recipe says, or else as the checkpoint does; None for texts."""
    if recipe.task == "text" or recipe.image is not None:
        return recipe.image
    return settings_of(source_path(recipe.checkpoint, root))


def say_of_images(recipe: Recipe, root: Path, settings: ImageSettings) -> None:
    """Say which image settings hold where the checkpoint has its own."""
    if recipe.image is None:
        values = ", ".join(f"{name} = {value}" for name, value in settings.model_dump().items())
        console.print(f"image: as the checkpoint says: {values}", markup=False, soft_wrap=True)
    elif told := difference(settings, source_path(recipe.checkpoint, root)):
        console.print(told, markup=False, soft_wrap=True)


def _watched_label(recipe: Recipe, labels: Sequence[str]) -> int | None:
    watch = recipe.text.watch
    if watch is None:
        return None
    if recipe.data.multi_label:
        raise StepError(
            'text.watch is for items with one label each, and [data] says problem = "multi-label"; leave watch out: '
            "each label has a threshold of its own"
        )
    if watch not in labels:
        raise StepError(
            f"text.watch must be a label of the data, got {watch!r}; name one of its {len(labels)}, such as "
            f"{labels[0]!r}"
        )
    return labels.index(watch)
