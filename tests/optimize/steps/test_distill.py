from __future__ import annotations

from typing import Any

import pytest
import torch

from optimize.build import Build
from optimize.errors import StepError
from optimize.models.saved import load_model
from optimize.models.training import predict
from optimize.recipe import read_recipe
from optimize.results import digest_of
from optimize.steps.distill import Distill, make_student
from tests.encoders import tiny_encoder
from tests.optimize.conftest import result, tiny_resnet50


def config(**keys: Any) -> Distill:
    return Distill(epochs=1, learning_rate=1e-3, **keys)


def test_a_bert_student_starts_from_the_chosen_layers(text_build: Build) -> None:
    teacher = load_model(text_build.teacher.path, "text")
    student = make_student(teacher, config(layers=(3, 1)))
    assert student.config.num_hidden_layers == 2
    assert teacher.config.num_hidden_layers == 4, "the teacher is left as it was"
    for ours, theirs in ((0, 3), (1, 1)):
        mine, origin = student.bert.encoder.layer[ours], teacher.bert.encoder.layer[theirs]
        assert torch.equal(mine.output.dense.weight, origin.output.dense.weight)


@pytest.mark.parametrize("depths", [(1, 1, 1), (2, 1, 2), (2, 2, 2)])
def test_a_resnet_student_has_the_blocks_asked_for(image_build: Build, depths: tuple[int, ...]) -> None:
    teacher = load_model(image_build.teacher.path, "image")
    student = make_student(teacher, config(depths=depths))
    assert tuple(len(student.get_submodule(f"layer{group}")) for group in (1, 2, 3)) == depths
    pixels = torch.zeros(2, 1, 8, 8)
    if depths == (2, 2, 2):
        assert torch.equal(student(pixels).logits, teacher(pixels).logits)


def test_a_resnet_of_transformers_can_be_a_teacher() -> None:
    teacher = tiny_resnet50()
    student = make_student(teacher, config(depths=(2, 2, 3, 2)))
    stages = student.resnet.encoder.stages
    assert [len(stage.layers) for stage in stages] == student.config.depths == [2, 2, 3, 2]
    assert student(torch.zeros(1, 3, 64, 64)).logits.shape == (1, 3)
    kept, original = stages[2].layers, teacher.resnet.encoder.stages[2].layers
    for ours, theirs in ((0, 0), (1, 1), (2, 5)):  # the first, and the rest evenly up to the last
        ours, theirs = kept[ours].state_dict(), original[theirs].state_dict()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_student_of_its_own_starts_whole_or_from_its_layers() -> None:
    own = {"student": {"source": "folder", "path": "x"}}
    start = tiny_encoder("roberta")
    whole = make_student(start, config(**own))
    assert (whole.config.model_type, whole.config.num_hidden_layers) == ("roberta", 4)
    assert make_student(start, config(**own, layers=(0, 3))).config.num_hidden_layers == 2
    with pytest.raises(StepError, match=r"must lie in 0..3, the layers of the student's checkpoint"):
        make_student(start, config(**own, layers=(4,)))
    with pytest.raises(StepError, match="share their weights and cannot be chosen one by one"):
        config(**own, layers=(0,)).require_fitting(tiny_encoder("albert").config)
    config(**own).require_fitting(tiny_encoder("albert").config)
    assert make_student(tiny_resnet50(), config(student="x.pth")).config.depths == [3, 4, 6, 3]
    assert make_student(tiny_resnet50(), config(**own, depths=(1, 1, 1, 1))).config.depths == [1, 1, 1, 1]


def test_only_a_checkpoint_of_its_own_makes_a_student_unrelated_to_the_teacher() -> None:
    path, table = config(student="x.pth"), config(student={"source": "state-dict", "path": "x.pth"})
    assert path.starts_from == table.starts_from
    assert (path.is_unrelated, table.is_unrelated, config(layers=(0,)).is_unrelated) == (False, True, False)
    assert (path.hidden_weight, table.hidden_weight) == (0.1, 0.0)
    (control,) = table.companions("screen", "image")
    assert (control.name, control.starts_from) == ("control", table.starts_from)


def test_the_keys_of_students_without_a_checkpoint_of_their_own_are_those_before_there_was_one() -> None:
    kept = {"demo-text": "5c05339ffd", "cifar10": "1d051ecc6a"}
    for name, key in kept.items():
        assert digest_of(read_recipe(name).screen[0].key_fields())[:10] == key


@pytest.mark.parametrize(
    ("name", "keys", "says"),
    [
        ("text", {"layers": (0, 4)}, r"layers \[0, 4\] must lie in 0..3"),
        ("text", {}, "student needs `layers`"),
        ("image", {}, "a ResNet student needs `depths`"),
        ("image", {"depths": (3, 1, 1)}, r"must name 1 up to \[2, 2, 2\] blocks"),
        ("image", {"depths": (1, 1)}, r"must name 1 up to \[2, 2, 2\] blocks"),
    ],
)
def test_a_student_that_cannot_be_made_is_refused(text_build: Build, image_build: Build, name, keys, says) -> None:  # type: ignore[no-untyped-def]
    teacher = load_model((text_build if name == "text" else image_build).teacher.path, name)
    with pytest.raises(StepError, match=says):
        make_student(teacher, config(**keys))


def test_the_student_learned_and_the_control_stands_beside_it(build: Build) -> None:
    holdout = build.preparer.prepare(build.splits.holdout)

    def accuracy(model: Any) -> float:
        return float((predict(model, holdout, build.preparer).argmax(axis=1) == holdout.targets).mean())

    step = next(step for step in build.recipe.screen if step.step == "distill")
    untrained = make_student(load_model(build.teacher.path, build.recipe.task), step)
    distilled, control = (
        load_model(result(build, f"screen/{n}").path, build.recipe.task) for n in ("distill", "control")
    )
    assert accuracy(distilled) > accuracy(untrained) + 0.1
    assert accuracy(control) > accuracy(untrained) + 0.1
    ours, theirs = distilled.state_dict(), control.state_dict()
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(ours[key], theirs[key]) for key in ours), "the teacher made a difference"
