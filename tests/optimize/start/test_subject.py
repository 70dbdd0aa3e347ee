from __future__ import annotations

from dataclasses import replace

import pytest

from optimize.start.checkpoint import found_in
from tests.encoders import tiny_encoder
from tests.optimize.models.onnx_files import tiny_resnet
from tests.optimize.start.test_plan import subject


def test_a_student_is_made_of_the_checkpoint_unless_it_has_one_of_its_own() -> None:
    made, own = subject(), found_in({"source": "folder", "path": "small"}, "text", tiny_encoder("roberta"))
    assert made.origin is made.checkpoint
    assert replace(made, student=own).origin is own


def test_a_training_goes_by_the_rows_and_by_the_width_of_what_is_trained() -> None:
    made, wide = subject(), found_in({}, "text", tiny_encoder("bert", hidden_size=64))
    values = made.trained("distill", made.checkpoint)
    assert set(values) == {"epochs", "learning_rate"}
    assert made.trained("distill", wide)["learning_rate"] == pytest.approx(values["learning_rate"] / 2, rel=0.2)
    assert subject(rows=40_000).trained("distill", made.checkpoint)["epochs"] < values["epochs"]
    assert made.trained("distill", found_in({}, "image", tiny_resnet()))["optimizer"] == "sgd"


def test_what_may_be_lost_in_int8_grows_where_rows_are_few() -> None:
    assert subject(rows=40_000, counts=(20_000, 20_000)).quantize() == {"step": "quantize"}
    assert subject(rows=400, counts=(200, 200)).quantize()["tolerable_loss"] > 0.005
