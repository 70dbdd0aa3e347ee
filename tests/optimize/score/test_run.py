from __future__ import annotations

import csv
import json
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from PIL import Image

from optimize.errors import DataError, ScoreError
from optimize.score import run as run_module
from optimize.score.asked import Asked
from optimize.score.parts import Parts, folder_of
from optimize.score.run import CHUNK_ROWS, chunk_rows, in_order, score
from optimize.score.scorer import Content, Scored, Scorer
from serving.cascade.modality import StoredCascade
from tests.optimize.score.tiny_models import WORDS, tiny_cascade


@pytest.fixture
def cascade(tmp_path: Path) -> StoredCascade:
    return tiny_cascade(tmp_path / "cascade")


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "CHUNK_ROWS", 10)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Ninety-five rows, of which every tenth has no text."""
    path = tmp_path / "in.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "text"))
        writer.writerows((n, "" if n % 10 == 9 else f"{WORDS[n % 6]} {n}") for n in range(95))
    return path


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_is_there_in_order_with_its_answer(
    cascade: StoredCascade, table: Path, tmp_path: Path, small_chunks: None
) -> None:
    out = tmp_path / "out.csv"
    summary = score(cascade, table, out, Asked(scores=True), threads=2)
    rows = read(out)
    assert [row["id"] for row in rows] == [str(n) for n in range(95)]
    alone = Scorer(cascade, threads=1)
    for row in rows:
        if not row["text"]:
            assert (row["label"], row["error"]) == ("", "text: must be there, got an empty cell")
            continue
        (expected,) = alone.score([row["text"]])
        assert expected.answer is not None
        assert (row["label"], row["stage"], row["error"]) == (expected.answer.label, expected.stage, "")
        assert float(row["confidence"]) == pytest.approx(expected.answer.confidence, abs=1e-6)
        assert float(row[f"scores.{row['label']}"]) == pytest.approx(expected.answer.confidence, abs=1e-6)
    escalated = sum(row["escalated"] == "true" for row in rows)
    assert 0 < escalated < 86
    assert (summary["rows"], summary["invalid"], summary["escalated"]) == (95, 9, escalated)
    assert summary["escalated_share"] == escalated / 86
    assert json.loads((tmp_path / "out.csv.json").read_text()) == summary
    assert not folder_of(out).exists()


@pytest.mark.parametrize("suffix", [".ndjson", ".parquet"])
def test_other_kinds_of_out_hold_the_same(
    cascade: StoredCascade, table: Path, tmp_path: Path, suffix: str, small_chunks: None
) -> None:
    score(cascade, table, tmp_path / "out.csv", Asked(), threads=1)
    other = tmp_path / f"out{suffix}"
    score(cascade, table, other, Asked(), threads=2)
    if suffix == ".parquet":
        rows = pyarrow.parquet.read_table(other).to_pylist()
    else:
        rows = [json.loads(line) for line in other.read_text().splitlines()]
    assert [(row["id"], row["label"] or "") for row in rows] == [
        (row["id"], row["label"]) for row in read(tmp_path / "out.csv")
    ]


class Stopping(Scorer):
    """Raises KeyboardInterrupt in the place of the answers to a chunk with this text, and counts what it scores."""

    at, scored = "", 0

    def score(self, contents: Any) -> list[Scored]:
        if self.at in contents:
            raise KeyboardInterrupt
        Stopping.scored += len(contents)
        return super().score(contents)


def test_a_run_that_was_stopped_goes_on_where_it_was(
    cascade: StoredCascade, table: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "out.csv"
    score(cascade, table, whole, Asked(), threads=1)
    monkeypatch.setattr(run_module, "Scorer", Stopping)
    monkeypatch.setattr(Stopping, "at", f"{WORDS[55 % 6]} 55")
    with pytest.raises(KeyboardInterrupt):
        score(cascade, table, out, Asked(), threads=1)
    assert not out.exists()
    kept = sum(path.suffix == ".arrow" for path in folder_of(out).iterdir())
    assert kept == 5
    monkeypatch.setattr(Stopping, "at", "")
    monkeypatch.setattr(Stopping, "scored", 0)
    summary = score(cascade, table, out, Asked(), threads=1)
    assert Stopping.scored == summary["rows_this_run"] == 45
    assert (summary["rows"], summary["invalid"]) == (95, 9)
    assert out.read_text() == whole.read_text()


@pytest.mark.parametrize("changed", ["input", "cascade", "options"])
def test_a_run_does_not_go_on_with_something_else(
    cascade: StoredCascade, table: Path, tmp_path: Path, changed: str
) -> None:
    out, asked = tmp_path / "out.csv", Asked()
    source = run_module.open_source(table, asked, "text", pairs=False)
    with Parts.opened(out, run_module.what_decides(cascade, Scorer(cascade, threads=1), source, asked)):
        pass
    if changed == "input":
        os.utime(table, ns=(0, 1))
    if changed == "cascade":
        cascade = tiny_cascade(tmp_path / "other", thresholds=(0.5, 0.5, 0.5))
    if changed == "options":
        asked = Asked(scores=True)
    with pytest.raises(ScoreError, match=rf"since then .*{changed[:5]}"):
        score(cascade, table, out, asked, threads=1)


def test_an_out_that_is_there_is_never_overwritten(
    cascade: StoredCascade, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.csv"
    summary = score(cascade, table, out, Asked(), threads=1)
    assert score(cascade, table, out, Asked(), threads=1) == summary
    assert capsys.readouterr().out.endswith("out.csv is there already, made from the same input by the same cascade\n")
    with pytest.raises(ScoreError, match="is there already and was made from something else"):
        score(cascade, table, out, Asked(scores=True), threads=1)
    (tmp_path / "mine.csv").write_text("my own")
    with pytest.raises(ScoreError, match="is there already and was made from something else"):
        score(cascade, table, tmp_path / "mine.csv", Asked(), threads=1)


def test_columns_that_only_later_lines_have_stand_with_those_of_the_input(
    cascade: StoredCascade, tmp_path: Path, small_chunks: None
) -> None:
    rows = [{"text": "fine", "id": 1} for _ in range(10)] + [{"text": "poor", "late": {"a": 1}}]
    (tmp_path / "in.ndjson").write_text("\n".join(map(json.dumps, rows)))
    score(cascade, tmp_path / "in.ndjson", tmp_path / "out.ndjson", Asked(), threads=1)
    last = json.loads((tmp_path / "out.ndjson").read_text().splitlines()[-1])
    assert list(last)[:4] == ["text", "id", "late", "label"]
    assert (last["id"], last["late"], last["label"]) == (None, {"a": 1}, "bad")


def test_a_table_without_rows_and_one_with_a_column_label_are_refused(cascade: StoredCascade, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="has no rows"):
        score(cascade, tmp_path / "in.csv", tmp_path / "out.csv", Asked(), threads=1)
    (tmp_path / "in.csv").write_text("text,label\nfine,good\n")
    with pytest.raises(DataError, match="names of answers"):
        score(cascade, tmp_path / "in.csv", tmp_path / "other.csv", Asked(), threads=1)
    score(cascade, tmp_path / "in.csv", tmp_path / "other2.csv", Asked(prefix="p_"), threads=1)
    assert read(tmp_path / "other2.csv")[0]["p_label"] == "good"


def test_images(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for value in (0, 120, 255):
        Image.new("RGB", (5, 5), (value,) * 3).save(tmp_path / "photos" / f"{value:03}.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    cascade = tiny_cascade(tmp_path / "cascade", "image")
    summary = score(cascade, tmp_path / "photos", tmp_path / "out.csv", Asked(), threads=2)
    assert [(row["file"], row["label"]) for row in read(tmp_path / "out.csv")] == [
        ("000.png", "bad"),
        ("120.png", "bad"),
        ("255.png", "good"),
        ("broken.png", ""),
    ]
    assert summary["invalid"] == 1
    assert chunk_rows(cascade) == CHUNK_ROWS


def test_values_are_taken_only_a_little_ahead_and_come_out_in_order() -> None:
    taken: list[int] = []
    first = threading.Event()

    def values() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    def call(number: int) -> int:
        if number == 0:
            first.wait(10)
        return number

    with ThreadPoolExecutor(3) as pool:
        results = in_order(call, values(), pool, 2)
        threading.Timer(0.05, first.set).start()
        assert next(results) == 0
        assert len(taken) == 3
        assert list(results) == list(range(1, 20))


def test_reading_goes_on_while_the_models_run(
    cascade: StoredCascade, table: Path, tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[int] = []
    most: list[int] = []

    class Slow(Scorer):
        def score(self, contents: list[Content]) -> list[Scored]:  # type: ignore[override]  # a list is what comes
            at_work.append(1)
            most.append(len(at_work))
            time.sleep(0.02)
            at_work.pop()
            return super().score(contents)

    monkeypatch.setattr(run_module, "Scorer", Slow)
    score(cascade, table, tmp_path / "out.csv", Asked(), threads=1)
    assert max(most) == run_module.CHUNKS_AHEAD
