from __future__ import annotations

from pathlib import Path

import pytest

from optimize.errors import CheckpointError
from optimize.start.look import look, look_at_data
from optimize.start.plan import expected_minutes
from optimize.start.source import source_of
from tests.encoders import saved_encoder
from tests.optimize.models.onnx_files import changed, image_folder, sized, text_folder
from tests.optimize.start.brought import images, rows, texts, write_csv


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


def test_a_graph_answers_and_learns_nothing(tmp_path: Path) -> None:
    model = text_folder(tmp_path / "model")
    subject = look(source_of(texts("csv", tmp_path)), str(model), name="x", folder=tmp_path / "build").subject
    assert subject.checkpoint.graph is not None
    assert subject.step_time is not None
    assert (subject.step_time.answer_s > 0, subject.step_time.learn_s) == (True, 0.0)
    assert expected_minutes(subject) is not None


def test_texts_are_as_long_as_a_graph_takes_them(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "rows.csv", ("text", "label"), [(f"{text} {text}", label) for text, label in rows()])
    model = text_folder(tmp_path / "model")
    (model / "config.json").unlink()
    subject = look(source_of(data), str(model), name="x", folder=tmp_path / "build").subject
    assert subject.facts.lengths is not None
    assert subject.facts.lengths.quantile(0.99) > 40, "the graph knows 40 positions, and no file says so"
    assert subject.max_tokens == 32


def test_an_image_graph_without_settings_tells_the_size_that_it_takes(tmp_path: Path) -> None:
    model = image_folder(tmp_path / "model")
    (model / "preprocessor_config.json").unlink()
    changed(model / "model.onnx", lambda graph: (sized(graph, 2, 24), sized(graph, 3, 24)))
    subject = look(source_of(images("folder", tmp_path, 30)), str(model), name="x", folder=tmp_path / "build").subject
    assert subject.image is not None
    assert (subject.image["width"], subject.image["height"], len(subject.image["mean"])) == (24, 24, 3)


def test_a_student_of_its_own_is_timed(tmp_path: Path) -> None:
    model, small = saved_encoder("bert", tmp_path / "model"), saved_encoder("distilbert", tmp_path / "small")
    source = source_of(texts("csv", tmp_path))
    subject = look(source, str(model), name="x", folder=tmp_path / "build", student=str(small)).subject
    assert subject.student is not None
    assert subject.student.title.startswith("a DistilBERT with 4 layers")
    assert subject.student_time is not None
    assert subject.student_time.learn_s > 0
