from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from optimize.data.readers import FilesData, Rows, read_rows
from optimize.data.tables import suffix_of
from optimize.errors import DataError
from tests.optimize.data.table_files import FORMATS, LABELS, TABLE, TEXTS, csv, stored

SECRET = "a text of a customer that nobody may print " * 3


def read(root: Path, train: str, **keys: Any) -> tuple[Rows, Rows | None]:
    return read_rows(FilesData(source="files", train=train, **keys), root=root, seed=0)


@pytest.mark.parametrize("name", FORMATS)
def test_every_kind_of_table_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMATS[name])
    got, holdout = read(tmp_path, name)
    assert got.inputs == TEXTS
    assert got.labels == LABELS
    assert got.ids == [f"{name}:{i}" for i in range(4)]
    assert holdout is None


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("semicolons.csv", "its columns are separated by semicolons"),
        ("commas.tsv", "its columns are separated by commas"),
        ("utf-16.csv", "it is read as utf-16, since it is not UTF-8; if that is wrong, set `encoding`"),
        ("floats.csv", "the labels are whole numbers, read without the decimal point"),
        ("t.xlsx", "the sheet 'Rows' of 2 is read"),
    ],
)
def test_what_was_found_out_is_said(tmp_path: Path, name: str, note: str, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_bytes(FORMATS[name])
    got, _ = read(tmp_path, name)
    assert got.notes == (note,)
    assert capsys.readouterr().out == f"data {name}: {note}\n"


def test_an_old_encoding_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("text,label\nGrüße zu 5 €,a\n".encode("cp1252"))
    got, _ = read(tmp_path, "t.csv")
    assert got.inputs == ["Grüße zu 5 €"]
    assert "read as cp1252" in got.notes[0]
    (tmp_path / "t.csv").write_bytes("text,label\nЛюди,a\n".encode("cp1251"))
    assert read(tmp_path, "t.csv", encoding="cp1251")[0].inputs == ["Люди"]


def test_other_columns_and_delimiters_can_be_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(csv(sep="~"))
    got, _ = read(tmp_path, "t.csv", text_column="label", label_column="text", delimiter="~")
    assert got.inputs == LABELS


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([True, False, None, True], ["True", "False", "True"]),
        ([1, 2.0, "3", None], ["1", "2", "3"]),
        ([1.5, 2.0, 1.5, 2.0], ["1.5", "2.0", "1.5", "2.0"]),
        ([" a", "a ", "b", "   "], ["a", "a", "b"]),
        ([0, None, float("nan"), 1], ["0", "1"]),
    ],
)
def test_labels_are_named_by_their_values(tmp_path: Path, values: list[Any], labels: list[str]) -> None:
    rows = [{"text": f"text {place}", "label": value} for place, value in enumerate(values)]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    got, _ = read(tmp_path, "t.json", bad_rows="leave-out")
    assert got.labels == labels


WRONG: dict[str, tuple[bytes, str, str]] = {
    "column": (b"text,kind\na,b\n", "t.csv", "no column 'label'; it has text, kind: set text_column and label_column"),
    "near column": (b"Text,labels\na,b\n", "t.csv", 'no column .text.; it has Text, labels: set text_column = "Text"'),
    "other column": (b"text,class\na,b\n", "t.csv", 'no column .label.; .*: set label_column = "class"'),
    "images": (b"image,label\na,b\n", "t.csv", 'no column .text.; .*: set image_column = "image"'),
    "no header": (f"{SECRET},spam\nb,ham\n".encode(), "t.csv", r"a first line that looks like a row \(2 columns\)"),
    "no text": (b"text,label\n,b\n", "t.csv", r"1 of 1 rows cannot be used: 1 with no 'text' \(row 1 of t.csv\); mend"),
    "no label": (
        b"text,label\na,b\nc,  \n",
        "t.csv",
        r"1 with no 'label' \(row 2 of t.csv\).* set bad_rows",
    ),
    "more columns": (b"text,label\na,b\nc, d,e\n", "t.csv", r"1 with more columns than the header's 2, .*\(row 2 of"),
    "damaged UTF-8": ("text,label\nä,ö\nü".encode() + b"\xff,b\n", "t.csv", "line 3 has bytes that are not UTF-8"),
    "gzip": (gzip.compress(b"text,label\na,b\n", mtime=0)[:-9], "t.csv.gz", "cannot be read .* must be CSV, TSV"),
    "no parquet": (b"not parquet", "t.parquet", "cannot be read .*named .parquet and is none"),
    "half parquet": (FORMATS["t.parquet"][:200], "t.parquet", "cannot be read"),
    "old excel": (b"\xd0\xcf\x11\xe0" + bytes(20), "t.xls", "save it as .xlsx"),
    "empty": (b"", "t.csv", "is empty; bring the file"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "t.csv", "fetch it with `git lfs pull`"),
    "JSON line": (b'{"text": "a", "label": "b"}\n{"text": "c", \n', "t.jsonl", "line 2 must be JSON, got .* character"),
    "JSON": (f'[{{"text": "{SECRET}"'.encode(), "t.json", "line 1 must be JSON"),
    "JSON value": (b"[1, 2]", "t.json", "row 1 must be an object with the columns as keys, got int"),
    "one JSON object": (b'{"a": {"b": [1]}, "c": {}}', "t.json", "must hold rows: an array of objects"),
    "list of labels": (b'{"text": "a", "label": ["b", "c"]}', "t.jsonl", "'label' must be one label, got a list of 2"),
    "object": (
        b'{"text": {"a": 1}, "label": "b"}',
        "t.jsonl",
        "row 1 of t.jsonl: .text. must be a text .*an object",
    ),
    "bytes": (
        stored(pandas.DataFrame({"text": [b"\x89PNG\xff"], "label": ["a"]}).to_parquet),
        "t.parquet",
        "got 5 bytes that are not UTF-8; .* name the column as image_column",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_table_that_cannot_be_read_says_so_and_quotes_no_row(tmp_path: Path, case: str) -> None:
    content, name, says = WRONG[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says) as error:
        read(tmp_path, name)
    assert name in str(error.value)
    assert SECRET[:20] not in str(error.value)
    assert len(str(error.value)) < 500


def test_an_encoding_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"text,label\n\xff,b\n")
    with pytest.raises(DataError, match="is not ascii from byte 11 on"):
        read(tmp_path, "t.csv", encoding="ascii")
    with pytest.raises(DataError, match="must be one that Python knows, got 'utf-9'"):
        read(tmp_path, "t.csv", encoding="utf-9")


def test_rows_without_text_or_label_are_counted_and_left_out_if_asked(tmp_path: Path) -> None:
    table = TABLE.assign(text=["a", None, "c", "d"], label=["x", "y", None, "z"]).convert_dtypes()
    table.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"2 of 4 rows .*: 1 with no 'text' \(row 2 .*\), 1 with no 'label'"):
        read(tmp_path, "t.parquet")
    got, _ = read(tmp_path, "t.parquet", bad_rows="leave-out")
    assert got.inputs == ["a", "d"]
    assert got.ids == ["t.parquet:0", "t.parquet:3"]
    (note,) = got.notes
    assert note.startswith("left out: 2 of 4 rows cannot be used: 1 with no 'text' (row 2 of t.parquet)")


def test_few_of_many_bad_rows_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("text,label\n" + "a,\n" * 300 + "b,c\n")
    with pytest.raises(DataError, match=r"300 of 301 .* \(row 1 of t.csv, .*, row 5 of t.csv, …\)"):
        read(tmp_path, "t.csv")


def test_the_names_of_labels_in_a_file_of_the_hub_are_taken(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["ham", "spam"], "_type": "ClassLabel"}}}}
    table = pyarrow.table({"text": ["a", "b", "c"], "label": [1, 0, -1]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(features)})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    got, _ = read(tmp_path, "t.parquet", bad_rows="leave-out")
    assert got.labels == ["spam", "ham"]
    assert got.classes == ("ham", "spam")


def test_a_folder_of_parts_is_one_table(tmp_path: Path) -> None:
    folder = tmp_path / "parts"
    (folder / "day=2").mkdir(parents=True)
    TABLE[:2].to_parquet(folder / "part-0.parquet")
    TABLE[2:].to_parquet(folder / "day=2" / "part-0.parquet")
    (folder / "_SUCCESS").touch()
    got, holdout = read(tmp_path, "parts")
    assert sorted(got.inputs) == sorted(TEXTS)
    assert set(got.ids) == {f"{name}:{i}" for name in ("part-0.parquet", "day=2/part-0.parquet") for i in (0, 1)}
    assert got.notes == ("left out: 1 file not read as tables (_SUCCESS)",)
    assert holdout is None
    (folder / "more.csv").write_bytes(csv())
    with pytest.raises(DataError, match=r"tables of several kinds \(.csv, .parquet\)"):
        read(tmp_path, "parts")


@pytest.mark.parametrize(
    ("selection_from", "train", "holdout"),
    [("train", ["0", "1", "a"], ["b"]), ("holdout", ["0", "1"], ["b", "a"])],
)
def test_the_splits_of_a_folder_are_found(
    tmp_path: Path, selection_from: str, train: list[str], holdout: list[str]
) -> None:
    parts = {"train-00000-of-00002": "0", "train-00001-of-00002": "1", "validation": "a", "test-00000-of-00001": "b"}
    for name, label in parts.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"text": name, "label": label}))
    got, held = read(tmp_path, ".", selection_from=selection_from)
    assert got.labels == train
    assert held is not None
    assert held.labels == holdout
    assert got.notes[0].startswith("train is found as the rows to train on, and test as the holdout; validation joins")


def test_images_in_a_table_are_read_as_the_hub_keeps_them(tmp_path: Path) -> None:
    file = stored(lambda file: Image.new("RGB", (4, 4), "red").save(file, "PNG"))
    (tmp_path / "red.png").write_bytes(file)
    images = [{"bytes": file, "path": "a.png"}, {"bytes": None, "path": "red.png"}, None]
    pandas.DataFrame({"image": images, "label": ["a", "b", "c"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"1 of 3 images cannot be used: 1 with no 'image' \(row 3 of t.parquet\)"):
        read(tmp_path, "t.parquet", image_column="image")
    got, _ = read(tmp_path, "t.parquet", image_column="image", bad_rows="leave-out")
    assert got.kind == "image"
    assert [image.read() for image in got.inputs] == [file, file]
    (tmp_path / "t.csv").write_text("file,label\nred.png,a\ngone.png,b\n")
    with pytest.raises(DataError, match=r"1 with a file that is no whole image \(.*gone.png cannot be read"):
        read(tmp_path, "t.csv", image_column="file")
    (tmp_path / "t.json").write_text('[{"file": 1, "label": "a"}]')
    with pytest.raises(DataError, match="must be its bytes or the path of its file, got int"):
        read(tmp_path, "t.json", image_column="file")


def test_what_a_table_is_stands_below_how_it_is_packed() -> None:
    assert suffix_of(Path("rows.v2.TSV.gz")) == ".tsv"
    assert suffix_of(Path("rows")) == ""


@pytest.mark.parametrize(
    ("name", "text", "size", "first"),
    [
        ("sms_train", "text", 3902, "I am taking half day leave bec i am not well"),
        ("sms_val", "text", 557, None),
        ("sst2_train", "sentence", 60614, None),
        ("agnews_train10k", "text", 10001, None),
    ],
)
def test_real_data_is_read_as_before(shared_data: Path, name: str, text: str, size: int, first: str | None) -> None:
    got, _ = read(shared_data / "text", f"{name}.tsv.gz", text_column=text)
    table = pandas.read_csv(shared_data / "text" / f"{name}.tsv.gz", sep="\t", dtype=str, keep_default_na=False)
    assert len(got.inputs) == size
    np.testing.assert_array_equal(got.inputs, table[text])
    np.testing.assert_array_equal(got.labels, table["label"])
    assert first in (None, got.inputs[0])
    assert got.notes == ()
