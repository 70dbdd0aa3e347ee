"""Find out whether a checkpoint's head knows the labels of the data, and in which order: by names, then by answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from optimize.build import Build
from optimize.errors import CheckpointError, GateError, RecipeError
from optimize.judge.measure import logits_of
from optimize.judge.teacher import against_chance, better_order, require_teacher
from optimize.models.checkpoint import named_labels
from optimize.models.heads import only_numbered
from optimize.progress import console
from optimize.recipe import Recipe
from optimize.start.subject import Head
from serving.model.head import Decisions

TRIED_ROWS = 800
"""About as many rows take part in a trial; the head answers those of its train split."""
KNOWS = 0.75
"""A head that knows the labels leaves at most this share of the mistakes of always answering the most frequent one."""
NO_HEAD = "The checkpoint has no head for these labels, so it is trained on them first."
NEAR_CHANCE = "The checkpoint's own head answers near chance on these labels, so it is trained on them first."


def head_for(draft: Mapping[str, Any], folder: Path) -> Head:
    """Try the head of the draft's checkpoint on some rows. `folder` is for the files of the trial.

    Raises CheckpointError when rows without labels meet a checkpoint without a trained head, and for a ready graph that
    knows the labels in no order.
    """
    trial = {**draft, "teacher": []}
    if draft["data"].get("labels") == "teacher":
        build_of(trial, folder).taken_in()
        return Head(trained=True, reason="")
    trial["data"] = {**draft["data"], "limit": TRIED_ROWS}
    reason = NO_HEAD
    for tried in (trial, as_listed(trial, folder)):
        build = build_of(tried, folder)
        try:
            build.teacher  # noqa: B018 - it is taken in when it is asked for
        except CheckpointError:
            continue
        if _knows(build):
            return _trained(tried, build) if tried is not trial else Head(trained=True, reason="")
        reason = NEAR_CHANCE
        if tried is not trial and (found := _in_order(tried, build, folder)) is not None:
            return found
    if draft["checkpoint"]["source"] == "onnx":
        path = draft["checkpoint"]["path"]
        raise CheckpointError(
            f"checkpoint {path} answers near chance on these labels, and nothing in an ONNX file can be trained; name "
            "the labels in the order of its output in the id2label of a config.json beside it, or bring its checkpoint "
            "in PyTorch"
        )
    return Head(trained=False, reason=reason)


@contextmanager
def nothing_said() -> Iterator[None]:
    """Keep what a build prints to itself: a trial reads the data again and again."""
    console.quiet = True
    try:
        yield
    finally:
        console.quiet = False


def build_of(described: Mapping[str, Any], folder: Path) -> Build:
    """The build of a recipe given by its values. Raises RecipeError when they do not fit together."""
    try:
        recipe = Recipe.model_validate(described)
    except ValidationError as error:
        said = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors())
        raise RecipeError(f"no recipe fits what was brought: {said}") from None
    return Build(recipe, root=Path(), folder=folder)


def as_listed(trial: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The trial with the data's labels stated, as if the head had them in this order under other names."""
    labels = build_of(trial, folder).splits.labels
    return _stating(trial, labels)


def _stating(trial: Mapping[str, Any], labels: tuple[str, ...]) -> dict[str, Any]:
    trust = {} if trial["checkpoint"]["source"] == "state-dict" else {"trust_label_order": True}
    return {
        **trial,
        "checkpoint": {**trial["checkpoint"], **trust},
        "data": {**trial["data"], "labels": list(labels)},
    }


def _knows(build: Build) -> bool:
    """Whether the head knows the labels. The gate of a run asks for less, so that a few rows refuse no good teacher."""
    if build.splits.multi_label:
        try:
            require_teacher(build)
        except GateError:
            return False
        return True
    found = against_chance(*_answers(build), build.splits.labels)
    return 1 - found.accuracy <= KNOWS * (1 - found.baseline)


def _answers(build: Build) -> tuple[Decisions, Decisions]:
    """What the head answers to the rows of the trial, and their labels; indices [rows]."""
    rows = build.prepared("train")
    return logits_of(build, build.teacher, rows).argmax(axis=1), rows.targets


def _in_order(tried: Mapping[str, Any], build: Build, folder: Path) -> Head | None:
    """The order of the labels in which the head is right; None where there is none."""
    labels = build.splits.labels
    order = None if build.splits.multi_label else better_order(*_answers(build), len(labels))
    if order is None:
        return None
    ordered = _stating(tried, tuple(labels[meant] for meant in order))
    build = build_of(ordered, folder)
    return _trained(ordered, build) if _knows(build) else None


def _trained(tried: Mapping[str, Any], build: Build) -> Head:
    names = named_labels(build.recipe.checkpoint, build.root)
    trust = names is not None and not only_numbered(names)
    return Head(trained=True, reason="", labels=tuple(tried["data"]["labels"]), trust_order=trust)
