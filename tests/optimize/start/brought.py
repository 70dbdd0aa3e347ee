"""What users bring: small tables and folders of images in many formats."""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas
from PIL import Image

from tests.encoders import LABELS, SENTENCES

ROWS = 240


def rows(count: int = ROWS, labels: Sequence[str] = LABELS) -> list[tuple[str, str]]:
    """(text, label) pairs of which no two texts are equal."""
    texts = [f"{SENTENCES[i % 50]} {SENTENCES[(8 * i + i // 50) % 50]}" for i in range(count)]
    return [(text, labels[i % len(labels)]) for i, text in enumerate(texts)]


def write_csv(path: Path, header: Sequence[str], lines: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *lines])
    return path


def texts(kind: str, folder: Path) -> Path:
    """A file or folder of texts in one of FORMATS."""
    there = rows()
    table = pandas.DataFrame(there, columns=["review", "category"])
    if kind == "csv":
        return write_csv(
            folder / "reviews.csv", ("id", "review", "category"), [(i, *row) for i, row in enumerate(there)]
        )
    if kind == "semicolon":
        return write_csv(folder / "reviews.csv", ("bewertung", "sorte"), there, ";")
    if kind == "jsonl":
        table.to_json(folder / "reviews.jsonl", orient="records", lines=True)
        return folder / "reviews.jsonl"
    if kind == "parquet":
        table.to_parquet(folder / "reviews.parquet")
        return folder / "reviews.parquet"
    if kind == "parts":
        (folder / "reviews").mkdir()
        table[:120].to_parquet(folder / "reviews" / "train-00000-of-00001.parquet")
        table[120:].to_parquet(folder / "reviews" / "test-00000-of-00001.parquet")
        return folder / "reviews"
    if kind == "lines":
        (folder / "log.txt").write_text("\n".join(text for text, _ in there))
        return folder / "log.txt"
    if kind == "untidy":
        spoiled = [(text, f" {label.upper()}" if i % 7 == 0 else label) for i, (text, label) in enumerate(there)]
        return write_csv(folder / "reviews.csv", ("text", "label"), [*spoiled, ("", "a"), ("only one", "rare")])
    if kind == "several":
        sets = [[LABELS[i % 3], *([LABELS[(i + 1) % 3]] if i % 2 else [])] for i in range(len(there))]
        lines = [json.dumps({"text": text, "labels": labels}) for (text, _), labels in zip(there, sets, strict=True)]
        (folder / "matters.jsonl").write_text("\n".join(lines))
        return folder / "matters.jsonl"
    if kind == "columns":
        ones = [[int(i % 4 == place or i % 7 == place) for place in range(3)] for i in range(len(there))]
        several = [(text, *of) for (text, _), of in zip(there, ones, strict=True)]
        return write_csv(folder / "matters.csv", ("comment_text", *LABELS), several)
    if kind == "one of columns":
        single = [(text, *(name == label for name in LABELS)) for text, label in there]
        return write_csv(folder / "matters.csv", ("comment_text", *LABELS), single)
    assert kind == "pairs"
    pairs = [(text, other, label) for (text, label), (other, _) in zip(there, reversed(there), strict=True)]
    return write_csv(folder / "pairs.csv", ("premise", "hypothesis", "label"), pairs)


FORMATS = (
    *("csv", "semicolon", "jsonl", "parquet", "parts", "lines", "untidy", "several", "columns", "one of columns"),
    "pairs",
)


def images(kind: str, folder: Path, count: int = 90) -> Path:
    """Images of three colours: a folder by label, a zip of it, an npz file, or a folder without labels."""
    rng = np.random.default_rng(0)
    colours = {"blue": (40, 40, 200), "green": (40, 200, 40), "red": (200, 40, 40)}
    named = [(list(colours)[i % 3], i) for i in range(count)]
    pixels = [np.clip(rng.normal(colours[name], 40, (16, 16, 3)), 0, 255).astype(np.uint8) for name, _ in named]
    if kind == "npz":
        places = np.array([list(colours).index(name) for name, _ in named])
        np.savez(folder / "colours.npz", x_train=np.array(pixels), y_train=places)
        return folder / "colours.npz"
    for (name, number), image in zip(named, pixels, strict=True):
        path = folder / "colours" / ("" if kind == "flat" else name) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    if kind != "zip":
        return folder / "colours"
    with zipfile.ZipFile(folder / "colours.zip", "w") as archive:
        for path in sorted((folder / "colours").rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    return folder / "colours.zip"


IMAGE_FORMATS = ("folder", "zip", "npz")
