from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import CheckpointError
from optimize.start.look import look, look_at_data
from optimize.start.source import source_of
from tests.encoders import saved_encoder
from tests.optimize.start.brought import images, texts


def test_data_alone(tmp_path: Path) -> None:
    source, train, holdout = look_at_data(source_of(texts("parts", tmp_path)))
    assert len(train.ids) == len(holdout.ids if holdout else ()) == 120
    assert source.table["source"] == "files"


def test_a_checkpoint_gives_lengths_in_tokens_and_a_timed_step(tmp_path: Path) -> None:
    model = saved_encoder("bert", tmp_path / "model")
    looked = look(source_of(texts("csv", tmp_path)), str(model), name="x", folder=tmp_path / "build")
    facts, step = looked.subject.facts, looked.subject.step_time
    assert facts.lengths is not None
    assert facts.lengths.unit == "tokens"
    assert step is not None
    assert step.learn_s > step.answer_s > 0


def test_a_text_encoder_cannot_read_images(tmp_path: Path) -> None:
    model = saved_encoder("bert", tmp_path / "model")
    with pytest.raises(CheckpointError, match="'bert'"):
        look(source_of(images("folder", tmp_path, 30)), str(model), name="x", folder=tmp_path / "build")
