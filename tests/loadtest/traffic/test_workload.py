"""What is asked: files to samples, and the shares in which they are drawn."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import WorkloadError
from loadtest.traffic.sample import Sample, Way
from loadtest.traffic.workload import (
    PLAIN_TEXTS,
    Mix,
    draw,
    generated_jpeg,
    image_samples,
    text_samples,
    with_hardness,
)

# Long texts are mostly hard, as in life: scaling one share moves the other.
CLASSES = {"short, easy": 60, "short, hard": 3, "long, easy": 4, "long, hard": 20, "image, easy": 9, "image, hard": 4}
SAMPLES = [Sample("/", b"", "", shape) for shape, count in CLASSES.items() for _ in range(count)]
SHARES = st.integers(1, 9).map(lambda n: n / 10)
DRAWN = 20_000


def share(drawn: list[Sample], word: str, among: str = "") -> float:
    inside = [s for s in drawn if not among or s.shape.startswith("image") != (among == "texts")]
    return sum(word in s.shape for s in inside) / len(inside)


@given(image=SHARES, long=SHARES, hard=SHARES)
def test_all_shares_of_a_mix_hold_together(image: float, long: float, hard: float) -> None:
    drawn = draw(SAMPLES, Mix(image_share=image, long_share=long, hard_share=hard), DRAWN, seed=1)
    assert share(drawn, "image") == pytest.approx(image, abs=0.03)
    assert share(drawn, "long", among="texts") == pytest.approx(long, abs=0.06)
    for kind in ("texts", "images"):
        assert share(drawn, "hard", among=kind) == pytest.approx(hard, abs=0.06)


def test_without_shares_the_mix_is_that_of_the_data() -> None:
    counts = Counter(s.shape for s in draw(SAMPLES, Mix(), DRAWN, seed=1))
    texts = {shape: count for shape, count in CLASSES.items() if "image" not in shape}
    assert set(counts) == set(texts)
    for shape, count in texts.items():
        assert counts[shape] / DRAWN == pytest.approx(count / sum(texts.values()), abs=0.02)
    assert draw(SAMPLES, Mix(), 50, seed=7) == draw(SAMPLES, Mix(), 50, seed=7) != draw(SAMPLES, Mix(), 50, seed=8)


@pytest.mark.parametrize("mix", [Mix(image_share=0.5), Mix(long_share=0.3), Mix(hard_share=0.3), Mix(hard_share=1.0)])
def test_a_share_of_what_is_not_there_is_refused(mix: Mix) -> None:
    only = [Sample("/", b"", "", "short, easy")] * 3
    with pytest.raises(WorkloadError, match=r"cannot be drawn: there are 0 of them and \d others"):
        draw(only, mix, 10, seed=1)


def test_shares_that_exclude_each_other_are_refused() -> None:
    twins = [Sample("/", b"", "", shape) for shape in ("short, easy", "long, hard")]
    with pytest.raises(WorkloadError, match="one goes with the other"):
        draw(twins, Mix(long_share=0.2, hard_share=0.8), 10, seed=1)
    assert share(draw(twins, Mix(long_share=0.2, hard_share=0.2), DRAWN, seed=1), "hard") == pytest.approx(
        0.2, abs=0.02
    )


def test_texts_come_with_their_labels_and_the_budget(tmp_path: Path) -> None:
    rows = "label\ttext\n" + "ham\tshort one\n" + f"spam\t{'long ' * 40}\n" + "\tnot labelled\nham\t   \n"
    for name, data in (("a.tsv", rows.encode()), ("a.tsv.gz", gzip.compress(rows.encode()))):
        (tmp_path / name).write_bytes(data)
        found = {json.loads(s.body)["text"].strip(): s for s in text_samples(tmp_path / name, 50.0, seed=1)}
        assert len(found) == 3, "white space is no text"
        assert (found["short one"].label, found["short one"].shape) == ("ham", "short")
        assert found["not labelled"].label is None
        assert found[("long " * 40).strip()].shape == "long"
        assert {json.loads(s.body)["budget_ms"] for s in found.values()} == {50.0}
    (tmp_path / "b.csv").write_text('text\n"one, two"\n')
    (sample,) = text_samples(tmp_path / "b.csv", None, seed=1)
    assert json.loads(sample.body) == {"text": "one, two"}
    assert sample.label is None
    assert len(text_samples(None, None, seed=1)) == len(PLAIN_TEXTS)


def test_pairs_of_texts_are_sent_as_pairs(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"text_pair,label,text\nit rains,same,rain\n,other,alone\n{'sun ' * 30},other,{'dry ' * 30}\n")
    found = {json.loads(sample.body)["text"].strip(): sample for sample in text_samples(path, 50.0, seed=1)}
    assert len(found) == 2, "a pair needs both texts"
    assert json.loads(found["rain"].body) == {"text": "rain", "text_pair": "it rains", "budget_ms": 50.0}
    assert (found["rain"].shape, found["rain"].label) == ("short", "same")
    assert [sample.shape for text, sample in found.items() if text != "rain"] == ["long"]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.csv", b"message,label\nhello,ham\n", "a column named text"),
        ("a.csv", b"text\n", "at least one text"),
        ("a.csv", b"text\n\xff\xfe\n", "CSV or TSV"),
        ("a.csv", b"text\n" + b"x" * 200_000, "CSV or TSV"),
        ("a.tsv.gz", b"no gzip", "CSV or TSV"),
        ("a.tsv.gz", gzip.compress(b"text\nhello\n" * 99, mtime=0)[:-12], "CSV or TSV"),
    ],
)
def test_a_file_without_texts_is_refused_by_its_name(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(WorkloadError, match=says) as caught:
        text_samples(tmp_path / name, None, seed=1)
    assert name in str(caught.value)


def test_images_of_a_folder_and_of_a_tar_are_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(generated_jpeg(number, side=32))
    (folder / "notes.txt").write_text("no image")
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        archive.add(folder, "images")
    of_folder, of_tar = (image_samples(path, None, seed=1) for path in (folder, tmp_path / "images.tar"))
    assert sorted(s.body for s in of_folder) == sorted(s.body for s in of_tar)
    assert len(of_folder) == 3
    (tmp_path / "empty").mkdir()
    for path, says in ((tmp_path / "empty", "must hold"), (folder / "notes.txt", "a folder or a tar"),
                       (tmp_path / "none", "a folder or a tar")):  # fmt: skip
        with pytest.raises(WorkloadError, match=says):
            image_samples(path, None, seed=1)


def test_texts_and_images_go_the_way_that_is_asked_for() -> None:
    way = Way(protocol="oip-json")
    assert {s.path for s in text_samples(None, None, 1, way)} == {"/v2/models/text/infer"}
    assert {s.path for s in image_samples(None, None, 1, way)} == {"/v2/models/image/infer"}


def test_hard_is_what_the_screen_deferred() -> None:
    samples = [Sample("/", b"", "", "short")] * 3
    assert [s.shape for s in with_hardness(samples, [True, False, None])] == ["short, hard", "short, easy", "short"]
