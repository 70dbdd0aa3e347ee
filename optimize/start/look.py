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
from optimize.models.checkpoint import OnnxCheckpoint, fetch_model, source_path
from optimize.models.families import family_of
from optimize.models.graph_model import GraphModel
from optimize.models.image_checkpoint import settings_of
from optimize.models.onnx_file import read_onnx
from optimize.models.onnx_interface import with_our_interface
from optimize.models.saved import load_model, load_tokenizer
from optimize.start.checkpoint import Found, checkpoint_table, config_of, found_in
from optimize.start.choosing import LEAST_TOKENS, SHORT
from optimize.start.cost import BATCH, StepTime, timed
from optimize.start.facts import facts_of
from optimize.start.head import as_listed, build_of, nothing_said
from optimize.start.pixels import image_values
from optimize.start.rows import HERE, read, settings_for
from optimize.start.source import Source
from optimize.start.subject import Head, Subject

UNKNOWN = Head(trained=False, reason="")
TEACHER = {"step": "fine-tune", **SHORT}
EXPORT = {"step": "export"}
LENGTHS = (512, 384, 256, 128, 64, 32)
"""Tokens of texts that a graph is tried with, whose positions no file tells."""


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


def look(source: Source, checkpoint: str, *, name: str, folder: Path, student: str | None = None) -> Looked:
    """Look at data and checkpoint, and at the checkpoint of its own that a student starts from.

    `folder` is for files on the way. Raises what a run would raise at its start.
    """
    source, train, holdout = look_at_data(source)
    table = checkpoint_table(checkpoint)
    ready = table["source"] == "onnx"
    draft: dict[str, Any] = {
        "name": name,
        "task": train.kind,
        "checkpoint": table,
        "data": dict(source.table),
        "teacher": [] if source.unlabelled or ready else [TEACHER],
        "expert": [EXPORT],
        "screen": [EXPORT],
    }
    image = _own_image(table, train) if train.kind == "image" else None
    if image is not None:
        draft["image"] = image
    if train.kind == "text":
        draft["text"] = {"max_tokens": LEAST_TOKENS}  # as long as nobody knows the lengths
    with nothing_said():
        # Whether a graph's own names are the labels of the data is found out later.
        tried = as_listed(draft, folder) if ready and not source.unlabelled else draft
        model, tokens = build_of(tried, folder).taken_in()
    tokenizer = load_tokenizer(tokens) if tokens else None
    facts = facts_of(train, holdout, labelled=not source.unlabelled, tokenizer=tokenizer)
    subject = Subject(name, source, facts, found_in(table, train.kind, model), UNKNOWN, image)
    if train.kind == "text":
        if isinstance(model, GraphModel) and family_of(model.config) is None:
            subject = _as_long_as_it_takes(subject, tried, folder)
        draft["text"] = {"max_tokens": subject.max_tokens}
    subject = replace(subject, step_time=_timed(subject, model, subject.checkpoint))
    return Looked(subject if student is None else _with_student(subject, student, tried, folder), train, draft)


def _own_image(table: Mapping[str, Any], rows: Rows) -> dict[str, Any] | None:
    """The table [image], by the images themselves, where the checkpoint brings no settings."""
    config = config_of(table)
    try:
        settings_of(source_path(config, HERE))
    except CheckpointError:
        if isinstance(config, OnnxCheckpoint):
            return _image_of_graph(config, rows)
        # A new head is enough: this model only tells its channels.
        model, _ = fetch_model(config, "image", ("a", "b"), HERE, fresh_head=True)
        return image_values(rows.inputs, model.config.num_channels)
    return None


def _image_of_graph(config: OnnxCheckpoint, rows: Rows) -> dict[str, Any]:
    """The same for a ready graph, which may take one size alone."""
    file = config.files(HERE).file
    _, channels, height, width = with_our_interface(read_onnx(file), "image", file).sizes
    sizes = {"width": width, "height": height}
    return image_values(rows.inputs, channels or 3) | {name: size for name, size in sizes.items() if size}


def _as_long_as_it_takes(subject: Subject, draft: Mapping[str, Any], folder: Path) -> Subject:
    """The subject with as many positions as the graph takes, of those that its texts want."""
    wanted = subject.max_tokens
    for most in (wanted, *(length for length in LENGTHS if length < wanted)):
        try:
            with nothing_said():
                build_of({**draft, "text": {"max_tokens": most}}, folder).taken_in()
        except CheckpointError:
            continue
        return _with_positions(subject, most)
    return _with_positions(subject, LEAST_TOKENS)  # with which it was taken in


def _with_positions(subject: Subject, positions: int) -> Subject:
    return replace(subject, checkpoint=replace(subject.checkpoint, positions=positions))


def _with_student(subject: Subject, student: str, draft: Mapping[str, Any], folder: Path) -> Subject:
    """The subject with a checkpoint of its own for the student, which was taken in and timed."""
    table = checkpoint_table(student)
    distill = {"step": "distill", "student": table, **SHORT}
    with nothing_said():
        build = build_of({**draft, "screen": [distill, EXPORT]}, folder)
        build.taken_in()
        taken = build.student_of(build.recipe.screen[0])
    assert taken is not None, "the step names a student"
    model = load_model(taken, subject.facts.kind)
    found = found_in(table, subject.facts.kind, model)
    return replace(subject, student=found, student_time=_timed(subject, model, found))


def _timed(subject: Subject, model: PreTrainedModel, found: Found) -> StepTime:
    """Time a step on inputs of the size that the recipe will have; what they hold makes no difference."""
    size: tuple[int, ...]
    if subject.facts.kind == "text":
        lengths = subject.facts.lengths
        assert lengths is not None, "texts have lengths"
        tokens = min(lengths.quantile(0.5), subject.max_tokens, found.positions)
        ids = torch.randint(1 if found.graph else model.config.vocab_size, (BATCH, tokens))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if found.graph is not None and "token_type_ids" in found.graph.inputs:
            inputs["token_type_ids"] = torch.zeros_like(ids)
        return timed(model, inputs)
    settings = subject.image or settings_of(source_path(config_of(subject.checkpoint.table), HERE)).model_dump()
    size = (BATCH, model.config.num_channels, settings["height"], settings["width"])
    return timed(model, {"pixel_values": torch.randn(size)})
