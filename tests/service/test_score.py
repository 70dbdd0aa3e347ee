"""`python -m optimize score` gives the answers of the running service to the same texts and images."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import TinyCascades, messages, optimize
from tests.server import PATIENT_MS, in_full
from tests.service.test_api import digit

TEXTS = [text for text, _ in messages(48, seed=11)]


def same(row: dict[str, Any], answer: dict[str, Any]) -> None:
    assert (row["label"], row["stage"], row["escalated"]) == (answer["label"], answer["stage"], answer["escalated"])
    assert row["confidence"] == pytest.approx(answer["confidence"], abs=1e-6)
    assert row["scores"] == pytest.approx(answer["scores"], abs=1e-6)
    assert row["truncated"] == answer["truncated"]


def test_texts(client: httpx.Client, tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    with (tmp_path / "in.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("id", "body"), *enumerate([*TEXTS, ""])])
    words = ("score", "tiny-text", "in.csv", "out.ndjson", "--text-column", "body", "--scores")
    said = optimize(*words, home=tiny_cascades.home, folder=tmp_path).stdout
    assert "49 rows" in said
    assert "  1: body: must be there, got an empty cell" in said
    *rows, empty = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert (empty["label"], empty["error"]) == (None, "body: must be there, got an empty cell")
    answers = [
        answer
        for start in range(0, len(TEXTS), 8)
        for answer in in_full(
            client, "/classify_texts", json={"texts": TEXTS[start : start + 8], "budget_ms": PATIENT_MS}
        ).json()["answers"]
    ]
    for row, text, answer in zip(rows, TEXTS, answers, strict=True):
        assert row["body"] == text
        same(row, answer)


def test_images(client: httpx.Client, tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    for number in range(12):
        (tmp_path / "digits" / f"{number:02}.png").write_bytes(digit(number))
    words = ("score", "tiny-image", "digits", "out.ndjson", "--scores")
    optimize(*words, home=tiny_cascades.home, folder=tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert [row["file"] for row in rows] == [f"{number:02}.png" for number in range(12)]
    for number, row in enumerate(rows):
        form = {"files": {"image": digit(number)}, "data": {"budget_ms": str(PATIENT_MS)}}
        same(row, in_full(client, "/classify_image", **form).json())


def test_a_cascade_that_is_not_there_is_one_sentence(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    done = optimize("score", "nothing", "in.csv", "out.csv", home=tiny_cascades.home, folder=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: nothing is no cascade of the model store, which has tiny-image, tiny-text;")
    assert done.stderr.count("\n") == 1
