from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from optimize.steps.registry import STEPS
from optimize.steps.union import StageStep, TeacherStep, step_classes

STAGE, TEACHER = TypeAdapter(StageStep), TypeAdapter(TeacherStep)


def test_every_registered_step_has_the_name_that_the_registry_gives_it() -> None:
    classes = step_classes(of_teacher=True) | step_classes(of_teacher=False)
    assert {name: step.model_fields["step"].default for name, step in classes.items()} == {name: name for name in STEPS}


def test_a_table_becomes_the_step_that_it_names() -> None:
    step = STAGE.validate_python({"step": "fuse", "precision": "fp16"})
    assert type(step) is step_classes(of_teacher=False)["fuse"]
    assert STAGE.dump_python(step) == {"step": "fuse", "precision": "fp16"}


def test_a_table_without_a_known_step_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"'shrink' found using 'step' does not match .*'distill', 'prune'"):
        STAGE.validate_python({"step": "shrink"})
    with pytest.raises(ValidationError, match="Unable to extract tag"):
        STAGE.validate_python({})


def test_only_the_teacher_is_fine_tuned_and_only_stages_are_exported() -> None:
    fine_tune = {"step": "fine-tune", "epochs": 1, "learning_rate": 0.1}
    assert TEACHER.validate_python(fine_tune).of_teacher
    with pytest.raises(ValidationError):
        STAGE.validate_python(fine_tune)
    with pytest.raises(ValidationError):
        TEACHER.validate_python({"step": "export"})
