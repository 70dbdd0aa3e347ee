"""The teacher's own answers as labels, for rows that have none."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from optimize.data.inputs import Preparer
from optimize.data.rows import Rows
from optimize.data.splits import Split
from optimize.data.targets import LabelSet
from optimize.errors import StepError
from optimize.kept import Keep
from optimize.models.checkpoint import CheckpointConfig, named_labels
from optimize.models.saved import Task, load_model
from optimize.models.training import predict
from optimize.progress import progress
from optimize.results import Result, digest_of
from serving.model.head import Decisions, Head

NO_KEYS = np.empty(0, dtype=np.uint64)
AT_ONCE = 1024
"""Rows that are prepared and held in memory at once."""


def own_labels(config: CheckpointConfig, root: Path) -> tuple[str, ...]:
    """The labels that a checkpoint itself names. Raises StepError for a source that names none."""
    labels = named_labels(config, root)
    if labels is None:
        raise StepError(
            f'labels = "teacher" needs a checkpoint that names its labels, and source = "{config.source}" has none; '
            "save the model with save_pretrained, with id2label in its config"
        )
    return labels


def teacher_labels(
    teacher: Result, task: Task, rows: Rows, preparer: Preparer, labels: tuple[str, ...], head: Head, keep: Keep
) -> list[str] | list[LabelSet]:
    """The label, or the label set, that the teacher gives to each row; computed once and kept by `keep`.

    Raises StepError for rows of another modality.
    """
    if rows.kind != task:
        raise StepError(f"the recipe is for {task}, and {rows.source} holds {rows.kind}; bring other data")
    targets = np.full(len(rows.ids), -1, dtype=np.int64)
    unlabelled = Split("selection", rows.inputs, targets, rows.ids, NO_KEYS)
    key = digest_of([teacher.key, preparer.key, unlabelled.digest, type(head).__name__])
    kept = keep(f"teacher-labels-{key[:12]}").with_suffix(".npy")
    if not kept.exists():
        beside = kept.with_name(f"{kept.stem}.partial.npy")
        np.save(beside, _answers(teacher.path, task, unlabelled, preparer, head))
        os.replace(beside, kept)
    answers: Decisions = np.load(kept)
    if answers.ndim == 1:
        return [labels[answer] for answer in answers.tolist()]
    return [tuple(labels[place] for place in np.flatnonzero(row).tolist()) for row in answers]


def _answers(teacher: Path, task: Task, rows: Split, preparer: Preparer, head: Head) -> Decisions:
    model = load_model(teacher, task)
    answers: list[Any] = []  # Decisions, all of one type
    with progress("the teacher labels the rows", total=len(rows)) as advance:
        for start in range(0, len(rows), AT_ONCE):
            at = slice(start, start + AT_ONCE)
            part = Split(rows.name, rows.inputs[at], rows.targets[at], rows.ids[at], rows.keys)
            answers.append(head.decide(predict(model, preparer.prepare(part), preparer)))
            advance(len(part))
    found: Decisions = np.concatenate(answers)
    return found
