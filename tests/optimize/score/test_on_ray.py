"""A local Ray of two workers gives the answers of `score`. Ray is an extra, and takes a while to start."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from optimize.errors import DataError, ScoreError
from optimize.score.asked import Asked
from optimize.score.on_ray import LOCAL, score_on_ray, with_known_types
from optimize.score.run import score
from optimize.score.summary import path_beside
from serving.cascade.modality import StoredCascade
from tests.optimize.score.tiny_models import WORDS, tiny_cascade

HERE: dict[str, Any] = {"address": LOCAL, "workers": 2, "threads": 1}


@pytest.fixture
def cascade(tmp_path: Path) -> StoredCascade:
    return tiny_cascade(tmp_path / "cascade")


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pyarrow.parquet.read_table(folder).to_pylist()
    return rows


@pytest.mark.slow
def test_ray_gives_the_answers_of_a_run_without_it(tmp_path: Path) -> None:
    ray = pytest.importorskip("ray", reason="ray is not installed: pip install '.[ray]'")
    texts, images = tmp_path / "texts", tmp_path / "images"
    texts.mkdir()
    (images / "deep").mkdir(parents=True)
    for part in range(2):
        with (texts / f"part-{part}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "text"))
            writer.writerows((n, "" if n % 50 == 9 else WORDS[n % 6]) for n in range(part * 3000, part * 3000 + 3000))
    for value in range(0, 256, 50):
        Image.new("RGB", (5, 5), (value,) * 3).save(images / "deep" / f"{value:03}.png")
    (images / "deep" / "broken.png").write_bytes(b"no picture")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        for kind, source in (("text", texts), ("image", images)):
            cascade = tiny_cascade(tmp_path / kind, kind)
            score(cascade, source, tmp_path / f"{kind}-alone.parquet", Asked(scores=True), threads=1)
            summary = score_on_ray(cascade, source, tmp_path / f"{kind}.parquet", Asked(scores=True), **HERE)
            expected = rows_of(tmp_path / f"{kind}-alone.parquet")
            assert rows_of(tmp_path / f"{kind}.parquet") == expected
            assert (summary["rows"], summary["workers"]) == (len(expected), 2)
            assert summary["invalid"] == sum(row["error"] is not None for row in expected) > 0
            assert path_beside(tmp_path / f"{kind}.parquet").exists()
        # A column with the name of an answer is no matter where answers have a prefix.
        again = Asked(prefix="again_")
        cascade = tiny_cascade(tmp_path / "again")
        score_on_ray(cascade, tmp_path / "text.parquet", tmp_path / "again.parquet", again, **HERE)
        rows = rows_of(tmp_path / "again.parquet")
        assert [row["again_label"] for row in rows] == [row["label"] for row in rows_of(tmp_path / "text.parquet")]
    finally:
        ray.shutdown()


def test_an_out_that_is_there_or_is_no_parquet_is_refused(cascade: StoredCascade, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text\nfine\n")
    with pytest.raises(ScoreError, match=r"OUT must be a folder that ends in .parquet, got .csv"):
        score_on_ray(cascade, tmp_path / "in.csv", tmp_path / "out.csv", Asked(), **HERE)
    (tmp_path / "out.parquet").mkdir()
    with pytest.raises(ScoreError, match="is there already and is not overwritten"):
        score_on_ray(cascade, tmp_path / "in.csv", tmp_path / "out.parquet", Asked(), **HERE)


def test_what_every_worker_would_refuse_is_refused_before_ray_starts(cascade: StoredCascade, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("text,label\nfine,good\n")
    with pytest.raises(DataError, match="names of answers"):
        score_on_ray(cascade, tmp_path / "in.csv", tmp_path / "out.parquet", Asked(), **HERE)
    (tmp_path / "in.csv").write_text("text\n")
    with pytest.raises(DataError, match="has no rows"):
        score_on_ray(cascade, tmp_path / "in.csv", tmp_path / "out.parquet", Asked(), **HERE)


def test_a_zip_of_images_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("a.png", b"file")
    cascade = tiny_cascade(tmp_path / "cascade", "image")
    with pytest.raises(ScoreError, match="images must lie in a folder, got a zip"):
        score_on_ray(cascade, tmp_path / "images.zip", tmp_path / "out.parquet", Asked(), **HERE)


def test_a_column_without_values_in_one_batch_is_text() -> None:
    table = pyarrow.table({"a": [1], "b": pyarrow.nulls(1)})
    assert with_known_types(table).schema.types == [pyarrow.int64(), pyarrow.string()]
