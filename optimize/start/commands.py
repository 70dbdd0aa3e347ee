"""The verbs `inspect` and `new`."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from dataclasses import replace
from pathlib import Path

from optimize.errors import RecipeError
from optimize.intake import require_steps
from optimize.progress import console
from optimize.recipe import Recipe, read_recipe
from optimize.start.facts import facts_of
from optimize.start.head import head_for, nothing_said
from optimize.start.look import look, look_at_data
from optimize.start.plan import expected_minutes, recipe_text
from optimize.start.shown import show
from optimize.start.source import Source
from optimize.start.subject import Subject

LEAST_HOLDOUT = 1_000
"""Holdout rows from which some can be spared to choose and to certify on."""


def inspect(source: Source, checkpoint: str | None) -> None:
    """Print what data are like, and with a checkpoint what it makes of them."""
    if checkpoint is None:
        source, train, holdout = look_at_data(source)
        show(source, facts_of(train, holdout, labelled=not source.unlabelled))
        return
    with tempfile.TemporaryDirectory() as folder:
        subject = look(source, checkpoint, name="inspect", folder=Path(folder)).subject
    show(subject.source, subject.facts)
    took = expected_minutes(subject)
    tuning = "" if subject.checkpoint.graph else " with its own fine-tuning"
    say(f"{subject.checkpoint.title}: a run{tuning} takes {took} here (an estimate)")


def new(source: Source, checkpoint: str, *, name: str | None, out: Path | None, student: str | None = None) -> Path:
    """Write a recipe that fits data and checkpoint, and return its path.

    `student`: a checkpoint of its own that the screen starts from.

    Raises RecipeError when the file is there already, and what a run would raise at its start.
    """
    name = name or name_from(source.name)
    path = out or Path(f"{name}.toml")
    if path.exists():
        raise RecipeError(f"{path} is there already and is not overwritten; choose another --name, or another --out")
    with tempfile.TemporaryDirectory() as folder:
        looked = look(source, checkpoint, name=name, folder=Path(folder), student=student)
        say(f"{looked.subject.checkpoint.title}; its head is tried on some of the rows")
        with nothing_said():
            head = head_for(looked.draft, Path(folder))
    subject = _choosing_on_unseen(replace(looked.subject, head=head))
    text = recipe_text(subject)
    recipe = Recipe.model_validate(tomllib.loads(text))
    own = subject.student
    require_steps(recipe, subject.checkpoint.brought, lambda _: own.config if own else subject.checkpoint.config)
    _write(path, text)
    read_recipe(str(path))
    return path


def say(sentence: str) -> None:
    """Print a sentence, whatever it holds."""
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)


def _choosing_on_unseen(subject: Subject) -> Subject:
    """Choose and certify on the holdout where the checkpoint may have been trained on the other rows."""
    holdout = subject.facts.holdout
    if not subject.head.trained or subject.source.unlabelled or holdout is None or holdout.rows < LEAST_HOLDOUT:
        return subject
    settings = {"selection_from": "holdout", "selection_share": 0.25, "certification_share": 0.25}
    return replace(subject, source=subject.source.with_settings(**settings))


def name_from(text: str) -> str:
    """A recipe's name from the name of a file: messages_2024.tsv.gz gives messages-2024."""
    words = re.findall(r"[a-z0-9]+", text.partition(".")[0].lower())
    return "-".join(words) or "cascade"


def _write(path: Path, text: str) -> None:
    """Write a file that is not there yet, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.partial")
    beside.write_text(text, encoding="utf-8")
    try:
        os.link(beside, path)  # unlike a rename, it fails if another process made the file meanwhile
    except FileExistsError:
        raise RecipeError(f"{path} is there already and is not overwritten; choose another --name or --out") from None
    finally:
        beside.unlink()
