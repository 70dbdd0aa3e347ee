from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from optimize.start.checkpoint import found_in
from optimize.start.cost import StepTime
from optimize.start.screen import READY, screen, search, student_of, trainings_of
from optimize.start.subject import Subject
from tests.encoders import tiny_encoder
from tests.optimize.models.onnx_files import take, text_folder
from tests.optimize.start.test_plan import recipe_of, subject

TRAINED = StepTime(answer_s=0.01, learn_s=0.04)


@pytest.fixture
def of_graph(tmp_path: Path) -> Subject:
    """A subject whose checkpoint is a ready graph."""
    found = found_in({"source": "onnx", "path": "graph"}, "text", take(text_folder(tmp_path / "model")))
    head = replace(subject().head, trained=True)
    return replace(subject(), checkpoint=found, head=head, step_time=StepTime(0.01, 0.0))


def with_student(made: Subject, kind: str = "roberta") -> Subject:
    found = found_in({"source": "folder", "path": "small"}, "text", tiny_encoder(kind))
    return replace(made, student=found, student_time=StepTime(0.005, 0.02))


def test_a_student_of_the_checkpoint_starts_from_some_of_its_layers() -> None:
    distill, prune, *_ = screen(subject())
    assert distill.values["layers"] == [0, 3]
    assert distill.values["train_embeddings"] is prune.values["train_embeddings"] is False


def test_a_student_of_its_own_is_taken_whole_and_its_embeddings_are_trained() -> None:
    made = with_student(subject())
    assert student_of(made) == {"student": {"source": "folder", "path": "small"}}
    recipe = recipe_of(made)
    distill, prune, *_ = recipe.screen
    assert distill.is_unrelated
    assert distill.model_dump()["train_embeddings"] is True
    assert (prune.step, prune.model_dump()["train_embeddings"]) == ("prune", False)
    assert [step.step for step in recipe.expert] == ["export", "quantize"]
    assert search(made) == ["# There is nothing to search: the screen has no student of fewer layers."]


def test_a_ready_graph_is_its_own_screen(of_graph: Subject) -> None:
    export, quantize = screen(of_graph)
    assert (export.values, export.above) == ({"step": "export"}, READY)
    assert quantize.values["step"] == "quantize"
    recipe = recipe_of(of_graph)
    assert recipe.checkpoint.source == "onnx"
    assert [step.step for step in recipe.expert] == [step.step for step in recipe.screen] == ["export", "quantize"]
    assert trainings_of(of_graph) == []


def test_a_graph_that_cannot_be_quantized_is_not(of_graph: Subject) -> None:
    graph = of_graph.checkpoint.graph
    assert graph is not None
    graph.precision = "int8"
    assert [table.values for table in screen(of_graph)] == [{"step": "export"}]
    assert [step.step for step in recipe_of(of_graph).expert] == ["export"]


def test_a_ready_graph_with_a_student_of_its_own(of_graph: Subject) -> None:
    recipe = recipe_of(with_student(of_graph))
    assert [step.step for step in recipe.screen] == ["distill", "prune", "export", "quantize"]
    assert not recipe.teacher


def test_a_checkpoint_whose_layers_cannot_be_chosen_is_pruned() -> None:
    shared = found_in({"source": "folder", "path": "model"}, "text", tiny_encoder("albert"))
    assert [table.values["step"] for table in screen(replace(subject(), checkpoint=shared))] == [
        *("prune", "export", "quantize"),
    ]


def test_trainings_cost_what_the_student_costs() -> None:
    made = replace(subject(), step_time=TRAINED)
    distill, prune = trainings_of(made)
    assert distill.learn_s == pytest.approx(0.04 * 2 / 4)
    assert prune.learn_s < distill.learn_s
    assert trainings_of(with_student(made))[0].learn_s == pytest.approx(0.02)
    assert trainings_of(subject()) == []
