from __future__ import annotations

import tomllib
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from optimize.recipe import Recipe
from optimize.start.checkpoint import found_in
from optimize.start.cost import StepTime
from optimize.start.facts import DataFacts, Lengths, Part
from optimize.start.plan import expected_minutes, recipe_text
from optimize.start.source import Source
from optimize.start.subject import Head, Subject
from tests.encoders import tiny_encoder

UNTRAINED = Head(trained=False, reason="The checkpoint has no head for these labels, so it is trained on them first.")


def subject(kind: str = "bert", rows: int = 4000, counts: tuple[int, ...] = (2000, 2000), **data: Any) -> Subject:
    labels = Counter({f"label-{place}": count for place, count in enumerate(counts)})
    facts = DataFacts(
        kind="text",
        pairs=False,
        labelled=data.get("labels") != "teacher",
        train=Part(rows=rows, labels=labels, duplicates=0, contradictory=0),
        holdout=None,
        leaked=0,
        lengths=Lengths("tokens", np.arange(1, 101)),
        sizes=None,
        notes=(),
    )
    source = Source({"source": "files", "train": "rows.csv", **data})
    checkpoint = found_in({"source": "folder", "path": "model"}, "text", tiny_encoder(kind))
    return Subject("mine", source, facts, checkpoint, UNTRAINED)


def recipe_of(made: Subject) -> Recipe:
    return Recipe.model_validate(tomllib.loads(recipe_text(made)))


def test_a_recipe_for_a_checkpoint_without_a_head() -> None:
    recipe = recipe_of(subject())
    (teacher,) = recipe.teacher
    assert teacher.step == "fine-tune"
    assert [step.step for step in recipe.expert] == ["export", "quantize"]
    assert [step.step for step in recipe.screen] == ["distill", "prune", "export", "quantize"]
    assert recipe.text.max_tokens == 40  # the positions of the tiny checkpoint
    assert recipe.operating_point.alpha == 0.01


def test_a_head_that_fits_is_not_trained_again() -> None:
    head = Head(trained=True, reason="", labels=("label-1", "label-0"), trust_order=True)
    recipe = recipe_of(replace(subject(), head=head))
    assert not recipe.teacher
    assert recipe.data.labels == ("label-1", "label-0")
    assert recipe.model_dump()["checkpoint"]["trust_label_order"] is True


def test_few_rows_promise_less() -> None:
    recipe = recipe_of(subject(rows=400, counts=(200, 200)))
    assert recipe.operating_point.alpha > 0.05
    assert recipe.quality.cascade.max_accuracy_drop > recipe.operating_point.alpha


def test_labels_out_of_balance_are_weighted() -> None:
    (teacher,) = recipe_of(subject(counts=(3900, 100))).teacher
    assert teacher.model_dump()["class_weights"] == "balanced"


def test_shared_layers_are_pruned_and_not_chosen() -> None:
    assert [step.step for step in recipe_of(subject("albert")).screen] == ["prune", "export", "quantize"]


def test_rows_without_labels_have_no_teacher_to_train() -> None:
    recipe = recipe_of(replace(subject(labels="teacher"), head=Head(trained=True, reason="")))
    assert recipe.data.labels == "teacher"
    assert not recipe.teacher


def test_the_search_in_comments_is_one() -> None:
    text = recipe_text(subject())
    start = text.index("# [search]")
    active = text[:start] + "\n".join(line.removeprefix("#").strip() for line in text[start:].splitlines())
    recipe = Recipe.model_validate(tomllib.loads(active))
    assert recipe.search is not None
    assert recipe.search.space == {"distill.layers": ([0, 3], [0])}


@pytest.mark.parametrize(("learn_s", "says"), [(0.0001, "about 2 minutes"), (1.0, "hours")])
def test_expected_minutes_stand_in_a_comment(learn_s: float, says: str) -> None:
    made = replace(subject(), step_time=StepTime(learn_s / 3, learn_s))
    assert says in str(expected_minutes(made))
    assert says in recipe_text(made).splitlines()[1]
    assert expected_minutes(subject()) is None
