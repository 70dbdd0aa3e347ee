"""A look at data and checkpoint together: all that `inspect` shows and `new` writes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from optimize.data.rows import Rows
from optimize.errors import CheckpointError
from optimize.models.checkpoint import fetch_model, source_path
from optimize.models.image_checkpoint import settings_of
from optimize.models.saved import load_tokenizer
from optimize.start.checkpoint import checkpoint_table, config_of, found_in
from optimize.start.choosing import LEAST_TOKENS
from optimize.start.cost import BATCH, StepTime, timed
from optimize.start.facts import facts_of
from optimize.start.head import build_of, nothing_said
from optimize.start.pixels import image_values
from optimize.start.plan import Head, Subject, text_tokens
from optimize.start.rows import HERE, read, settings_for
from optimize.start.source import Source

UNKNOWN = Head(trained=False, reason="")
TEACHER = {"step": "fine-tune", "epochs": 1, "learning_rate": 1e-5}
STEPS = [{"step": "export"}]


@dataclass(frozen=True, slots=True)
class Looked:
    """A subject with what it was found from. `draft` is a recipe that takes the checkpoint in, and no more."""

    subject: Subject
    rows: Rows
    draft: Mapping[str, Any]


def look_at_data(source: Source) -> tuple[Source, Rows, Rows | None]:
    """The rows, and the source with the settings that these rows need."""
    source, train, holdout = read(source)
    return source.with_settings(**settings_for(source, train, holdout)), train, holdout


def look(source: Source, checkpoint: str, *, name: str, folder: Path) -> Looked:
    """Look at data and checkpoint; `folder` is for files on the way. Raises what a run would raise at its start."""
    source, train, holdout = look_at_data(source)
    table = checkpoint_table(checkpoint)
    draft: dict[str, Any] = {
        "name": name,
        "task": train.kind,
        "checkpoint": table,
        "data": dict(source.table),
        "teacher": [] if source.unlabelled else [TEACHER],
        "expert": STEPS,
        "screen": STEPS,
    }
    image = _own_image(table, train) if train.kind == "image" else None
    if image is not None:
        draft["image"] = image
    if train.kind == "text":
        draft["text"] = {"max_tokens": LEAST_TOKENS}  # as long as nobody knows the lengths
    with nothing_said():
        model, tokens = build_of(draft, folder).taken_in()
    tokenizer = load_tokenizer(tokens) if tokens else None
    facts = facts_of(train, holdout, labelled=not source.unlabelled, tokenizer=tokenizer)
    found = found_in(table, train.kind, model)
    subject = Subject(name, source, facts, found, UNKNOWN, image)
    if train.kind == "text":
        draft["text"] = {"max_tokens": text_tokens(subject)}
    return Looked(replace(subject, step_time=_timed(subject, model)), train, draft)


def _own_image(table: Mapping[str, Any], rows: Rows) -> dict[str, Any] | None:
    """The table [image], by the images themselves, where the checkpoint brings no settings."""
    config = config_of(table)
    try:
        settings_of(source_path(config, HERE))
    except CheckpointError:
        # A new head is enough: this model only tells its channels.
        model, _ = fetch_model(config, "image", ("a", "b"), HERE, fresh_head=True)
        return image_values(rows.inputs, model.config.num_channels)
    return None


def _timed(subject: Subject, model: PreTrainedModel) -> StepTime:
    """Time a step on inputs of the size that the recipe will have; what they hold makes no difference."""
    size: tuple[int, ...]
    if subject.facts.kind == "text":
        lengths = subject.facts.lengths
        assert lengths is not None, "texts have lengths"
        ids = torch.randint(model.config.vocab_size, (BATCH, min(lengths.quantile(0.5), text_tokens(subject))))
        return timed(model, {"input_ids": ids, "attention_mask": torch.ones_like(ids)})
    settings = subject.image or settings_of(source_path(config_of(subject.checkpoint.table), HERE)).model_dump()
    size = (BATCH, model.config.num_channels, settings["height"], settings["width"])
    return timed(model, {"pixel_values": torch.randn(size)})
