"""Take in a student that is not made of the teacher: any checkpoint, with a head for the data's labels."""

from __future__ import annotations

from pathlib import Path

import torch

from optimize.kept import Keep
from optimize.models.checkpoint import CheckpointConfig, fetch_model, local_source, source_path
from optimize.models.image_checkpoint import difference, require_channels
from optimize.models.saved import save_model
from optimize.progress import console
from optimize.recipe import Recipe
from optimize.results import digest_below, digest_of
from optimize.versions import versions
from serving.model.artifact import ImageSettings


def own_student(
    source: CheckpointConfig,
    recipe: Recipe,
    labels: tuple[str, ...],
    image: ImageSettings | None,
    *,
    root: Path,
    keep: Keep,
) -> Path:
    """The checkpoint `source` as a folder with its tokeniser and a head for `labels`, made once and kept by `keep`.

    Raises CheckpointError when the source is missing or cannot be taken in, or takes other images than `image` says.
    """
    local = local_source(source, root)
    content = digest_below(local) if local else None
    multi_label = recipe.data.multi_label
    key = digest_of([source.model_dump(mode="json"), content, labels, multi_label, recipe.seed, versions()])
    kept = keep(f"student-{key[:12]}")
    if not kept.exists():
        torch.manual_seed(recipe.seed)  # a new head is random
        model, tokenizer = fetch_model(source, recipe.task, labels, root, fresh_head=True, multi_label=multi_label)
        if image is not None:
            require_channels(model.config, image)
            if told := difference(image, source_path(source, root)):
                console.print(f"student: {told}", markup=False, soft_wrap=True)
        save_model(model, kept, tokenizer)
    return kept
