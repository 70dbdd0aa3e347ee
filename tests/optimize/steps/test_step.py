from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from optimize.build import Build
from optimize.models.distillation import DistillationConfig
from optimize.steps.export import Export
from optimize.steps.step import StepContext


def context(build: Build, folder: Path) -> StepContext:
    return StepContext(
        task=build.recipe.task,
        seed=build.recipe.seed,
        root=build.root,
        keep=folder.joinpath,
        resume=folder / "training.pt",
        splits=build.splits,
        preparer=build.preparer,
        prepare=build.prepared,
        teacher=build.teacher,
        teacher_preparer=build.preparer,
        teacher_prepare=build.prepared,
        checkpoint=build.teacher.path,
    )


def test_the_teachers_outputs_are_kept_in_the_build_folder_for_each_set_of_views(build: Build, tmp_path: Path) -> None:
    given = context(build, tmp_path)
    one, other = (DistillationConfig(epochs=1, learning_rate=0.1, views=views) for views in (1, 2))
    student = given.load(build.teacher.path)
    first = given.teacher_outputs(one, student)
    (kept,) = tmp_path.glob("teacher-outputs-*/logits.npy")
    written = kept.stat().st_mtime_ns
    np.testing.assert_array_equal(given.teacher_outputs(one, student).logits, first.logits)
    assert kept.stat().st_mtime_ns == written, "read, not computed again"
    given.teacher_outputs(other, student)
    assert len(list(tmp_path.glob("teacher-outputs-*/logits.npy"))) == 2


def test_hidden_states_are_kept_only_where_the_loss_has_them(text_build: Build, tmp_path: Path) -> None:
    given = context(text_build, tmp_path)
    without = DistillationConfig(epochs=1, learning_rate=0.1, hidden_weight=0.0)
    assert not given.teacher_outputs(without, given.load(text_build.teacher.path)).hidden
    assert [path.name for path in tmp_path.glob("teacher-outputs-*/*")] == ["logits.npy"]


def test_a_student_of_another_family_follows_no_hidden_states_of_the_teacher(text_build: Build, tmp_path: Path) -> None:
    config, given = DistillationConfig(epochs=1, learning_rate=0.1), context(text_build, tmp_path)
    own = replace(given, related=False, prepare=lambda _: pytest.fail("the teacher reads what its tokeniser makes"))
    student = given.load(text_build.teacher.path)
    without = own.teacher_outputs(config, student)
    assert not without.hidden
    kept = given.teacher_outputs(config, student)
    assert len(kept.hidden) == 4
    np.testing.assert_array_equal(without.logits, kept.logits)


def test_a_saved_checkpoint_has_the_tokeniser_of_its_texts(text_build: Build, tmp_path: Path) -> None:
    given = context(text_build, tmp_path)
    given.save(given.load(text_build.teacher.path), tmp_path / "model")
    tokenizer = "tokenizer.json"
    assert (tmp_path / "model" / tokenizer).read_text() == (text_build.teacher.path / tokenizer).read_text()


def test_a_step_takes_no_unknown_field_and_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="opsets"):
        Export(opsets=18)  # type: ignore[call-arg]  # the mistake under test
    with pytest.raises(ValidationError, match="frozen"):
        Export().opset = 19
