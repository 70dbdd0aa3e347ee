"""Traffic: every row is seen by both stages, whatever the screen thinks of it, and a run that was stopped goes on."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from optimize.errors import DataError
from optimize.score import run as run_module
from optimize.score.asked import Asked
from optimize.score.scorer import Content, Scorer
from optimize.traffic.stages import Traffic, read_traffic
from serving.cascade.modality import StoredCascade
from tests.optimize.score.tiny_models import WORDS, tiny_cascade


@pytest.fixture
def cascade(tmp_path: Path) -> StoredCascade:
    return tiny_cascade(tmp_path / "cascade")


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Ninety-five requests as JSON lines, of which every tenth has no text, with other columns beside."""
    path = tmp_path / "logs.ndjson.gz"
    with gzip.open(path, "wt") as file:
        for n in range(95):
            file.write(json.dumps({"id": n, "text": "" if n % 10 == 9 else f"{WORDS[n % 6]} {n}"}) + "\n")
    return path


def read(cascade: StoredCascade, path: Path, folder: Path, scorer: Scorer | None = None) -> Traffic:
    opened = scorer or Scorer(cascade, threads=2)
    try:
        return read_traffic(cascade, opened, path, Asked(), folder)
    finally:
        opened.close()


def test_both_stages_say_something_of_every_row(cascade: StoredCascade, logs: Path, tmp_path: Path) -> None:
    traffic = read(cascade, logs, tmp_path)
    assert (len(traffic), traffic.errors) == (86, {"text: must be there, got an empty cell": 9})
    scorer = Scorer(cascade, threads=1)
    texts = [f"{WORDS[n % 6]} {n}" for n in range(95) if n % 10 != 9]
    for place, text in enumerate(texts):
        both = scorer.both([text])
        assert np.allclose(traffic.screen[place], both.screen[0])
        assert np.allclose(traffic.expert[place], both.expert[0])
        assert np.allclose(3 * both.screen[0], both.expert[0]), "the tiny expert is three times as sure"
    assert traffic.lengths.tolist() == [2] * 86


def test_nothing_of_the_content_is_kept(cascade: StoredCascade, logs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    read(cascade, logs, folder)
    kept = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    assert kept
    assert not any(word.encode() in path.read_bytes() for path in kept for word in WORDS)


def test_a_run_that_was_stopped_goes_on(
    cascade: StoredCascade, logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "CHUNK_ROWS", 10)
    whole = read(cascade, logs, tmp_path / "whole")

    class Stopped(Scorer):
        asked = 0
        stops_after = 40

        def both(self, contents: list[Content]) -> object:  # type: ignore[override]
            Stopped.asked += len(contents)
            if Stopped.asked > self.stops_after:
                raise KeyboardInterrupt
            return super().both(contents)

    with pytest.raises(KeyboardInterrupt):
        read(cascade, logs, tmp_path / "part", Stopped(cascade, threads=1))
    done = len(list((tmp_path / "part").rglob("*.arrow")))
    assert 0 < done < 10
    Stopped.asked, Stopped.stops_after = 0, 1_000
    rest = read(cascade, logs, tmp_path / "part", Stopped(cascade, threads=1))
    assert Stopped.asked == 95 - 10 * done
    assert (rest.screen == whole.screen).all()
    assert (rest.expert == whole.expert).all()
    assert rest.errors == whole.errors


def test_other_traffic_takes_the_place_of_what_was_kept(cascade: StoredCascade, logs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "build"
    read(cascade, logs, folder)
    (before,) = folder.glob("*.parts")
    other = tmp_path / "other.csv"
    with other.open("w", newline="") as file:
        csv.writer(file).writerows([["text"], *([word] for word in WORDS)])
    assert len(read(cascade, other, folder)) == len(WORDS)
    assert [path.name for path in folder.glob("*.parts")] != [before.name]
    assert len(list(folder.glob("*.parts"))) == 1


def test_a_folder_of_images_is_traffic_too(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for n in range(12):
        Image.new("RGB", (8, 8), (20 * n,) * 3).save(folder / f"{n:02d}.png")
    (folder / "broken.png").write_bytes(b"no image")
    cascade = tiny_cascade(tmp_path / "cascade", "image")
    traffic = read(cascade, folder, tmp_path / "build")
    assert len(traffic) == 12
    assert traffic.errors.total() == 1
    assert (np.diff(traffic.expert[:, 2]) > 0).all(), "brighter images look better to the tiny expert"


def test_an_input_without_rows_is_refused(cascade: StoredCascade, tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("text\n")
    with pytest.raises(DataError, match="has no rows"):
        read(cascade, path, tmp_path / "build")
