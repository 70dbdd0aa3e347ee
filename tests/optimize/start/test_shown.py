from __future__ import annotations

from pathlib import Path

import pytest

from optimize.start.facts import facts_of
from optimize.start.look import look_at_data
from optimize.start.shown import LABELS_SHOWN, show
from optimize.start.source import source_of
from tests.optimize.start.brought import images, rows, texts, write_csv


def shown(path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    source, train, holdout = look_at_data(source_of(path))
    show(source, facts_of(train, holdout, labelled=not source.unlabelled))
    return capsys.readouterr().out


def test_rows_labels_lengths_and_what_can_be_certified(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(texts("csv", tmp_path), capsys)
    assert "text_column = 'review' (by its name)" in said
    assert "lengths in words" in said
    assert "what about 31 certification items can promise at 95% confidence (without a miss, 1% takes 299" in said
    assert "33.3%" in said


def test_no_text_of_the_users_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("untidy", "lines", "pairs", "several"):
        (tmp_path / kind).mkdir()
        said = shown(texts(kind, tmp_path / kind), capsys)
        assert not [text for text, _ in rows() if text[:20] in said]


def test_what_a_run_would_refuse_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(texts("untidy", tmp_path), capsys)
    assert "a run refuses these rows as they are; mend them, or set bad_rows = 'leave-out'" in said


def test_of_many_labels_some_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = rows(1000, [f"label {place}" for place in range(50)])
    said = shown(write_csv(tmp_path / "many.csv", ("text", "label"), lines), capsys)
    assert f"… {50 - LABELS_SHOWN} more" in said
    assert said.count("label ") < 2 * LABELS_SHOWN


def test_labels_out_of_balance_and_leaks_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [(text, "rare" if i % 20 == 0 else "often") for i, (text, _) in enumerate(rows(200))]
    train = write_csv(tmp_path / "train.csv", ("text", "label"), lines)
    held = write_csv(tmp_path / "held.csv", ("text", "label"), lines[:30])
    source, rows_, holdout = look_at_data(source_of(train, holdout=held))
    show(source, facts_of(rows_, holdout, labelled=True))
    said = capsys.readouterr().out
    assert "the most frequent one has 19 times as many rows as 'rare'" in said
    assert "30 rows to train on have a near-duplicate in the holdout" in said


def test_sizes_of_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "sizes of images in pixels" in shown(images("folder", tmp_path, 30), capsys)
