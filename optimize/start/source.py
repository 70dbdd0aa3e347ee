"""What kind of data a file or folder holds, as the table [data] of a recipe."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from optimize.data.folders import IMAGE_SUFFIXES
from optimize.data.label_columns import flag_of
from optimize.data.said import columns as listed_columns
from optimize.data.said import some
from optimize.data.sources import DataConfig, FilesData
from optimize.data.tables import PARTS, suffix_of, table_start
from optimize.errors import DataError
from optimize.start.columns import IMAGE, LABEL, TEXT, Columns, guess, separator_of

# Arrays of images and labels to train on and to hold out, as people name them.
NPZ_KEYS = (
    (("train_x", "train_y"), ("test_x", "test_y")),
    (("x_train", "y_train"), ("x_test", "y_test")),
    (("train_images", "train_labels"), ("test_images", "test_labels")),
    (("images", "labels"), ("test_images", "test_labels")),
    (("x", "y"), ("x_test", "y_test")),
)
NO_LABELS = "there are no labels, so the checkpoint's own answers are taken"
CLASS_KEYS = ("classes", "class_names", "label_names", "labels_names")


@dataclass(frozen=True, slots=True)
class Source:
    """The table [data] as values, and sentences about what was guessed."""

    table: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def config(self) -> DataConfig:
        """The table as a recipe reads it."""
        config: DataConfig = TypeAdapter(DataConfig).validate_python(self.table)
        return config

    @property
    def name(self) -> str:
        """The name of the file or folder."""
        return Path(self.table.get("train") or self.table["path"]).name

    @property
    def unlabelled(self) -> bool:
        """Whether the rows have no labels, so that the checkpoint gives them."""
        return self.table.get("labels") == "teacher"

    @property
    def several(self) -> bool:
        """Whether a row may have several labels."""
        return self.table.get("problem") == "multi-label"

    def with_settings(self, **settings: Any) -> Source:
        """The same source with more settings."""
        return Source({**self.table, **settings}, self.notes)


def source_of(
    path: Path, *, holdout: Path | None = None, text_column: str | None = None, label_columns: Sequence[str] = ()
) -> Source:
    """The data source at `path`, a file or folder as a user has it. Raises DataError when it is none.

    `text_column` and `label_columns` take the place of a guess; several label columns are one for each label.
    """
    full = path.expanduser()
    if not full.exists():
        raise DataError(
            f"data {path}: there is no such file or folder; write the path as it is seen from the current folder. Of a "
            "data set of the hub bring the files, or write a recipe (see `python -m optimize show sst2-bert-base`)"
        )
    held = {"holdout": str(holdout)} if holdout else {}
    if full.suffix == ".npz":
        return _npz(path, full)
    if _is_folder_of_images(full):
        flat = {} if _has_folders(full) else {"labels": "teacher"}
        return Source({"source": "folder", "train": str(path), **held, **flat}, (NO_LABELS,) if flat else ())
    if full.suffix == ".txt" and not _has_header(full):
        keys = {"source": "files", "train": str(path), **held, "labels": "teacher"}
        return Source(keys, (f"one text a line; {NO_LABELS}",))
    table = _first_table(full)
    cells = columns_of(table)
    for name in (text_column, *label_columns):
        if name is not None and name not in cells:
            raise DataError(f"data {table} has no column {name!r}; it has {listed_columns(cells)}")
    found = guess(cells, text=text_column, labels=label_columns)
    if found.text is None and found.image is None:
        raise DataError(
            f"data {table} has no column of texts (it has {listed_columns(cells)}); name it with --text-column"
        )
    keys = {**_keys(found), **_of_labels(found, cells)}
    return Source({"source": "files", "train": str(path), **held, **keys}, tuple(_guesses(found, cells)))


def _keys(found: Columns) -> dict[str, str]:
    keys = {"text_column": found.text, "text_pair_column": found.text_pair, "image_column": found.image}
    keys["label_column"] = found.label
    return {key: name for key, name in keys.items() if name is not None}


def _of_labels(found: Columns, cells: Mapping[str, Sequence[object]]) -> dict[str, Any]:
    """What the recipe must know of the labels: that there are none, several in a row, or a column for each."""
    if found.labels:
        several = {"problem": "multi-label"} if _has_sets(found, cells) else {}
        return {"label_columns": list(found.labels), **several}
    if found.label is None:
        return {"labels": "teacher"}
    separator = separator_of(cells[found.label])
    if separator is None:
        return {}
    return {"problem": "multi-label"} | ({"label_separator": separator} if separator not in ("", "|") else {})


def _has_sets(found: Columns, cells: Mapping[str, Sequence[object]]) -> bool:
    """Whether rows have several labels or none, by a column for each."""
    rows = zip(*([flag_of(cell) for cell in cells[name]] for name in found.labels), strict=True)
    return any(None not in row and row.count(True) != 1 for row in rows)


def _guesses(found: Columns, cells: Mapping[str, Sequence[object]]) -> list[str]:
    said = []
    for key, name in _keys(found).items():
        how = "guessed by what it holds" if name in found.guessed else "by its name"
        said.append(f"{key} = {name!r} ({how})")
    if found.labels:
        how = "guessed by the 0 and 1 in them" if set(found.labels) <= set(found.guessed) else "as named"
        problem = "several labels a row" if _has_sets(found, cells) else "one label a row"
        said.append(f"label_columns = {some(found.labels)} ({how}): a column for each label, {problem}")
    elif found.label is None:
        said.append(NO_LABELS)
    elif (separator := separator_of(cells[found.label])) is not None:
        said.append(f"several labels in a row ({f'separated by {separator}' if separator else 'lists'})")
    if len(cells) > len(_keys(found)) + len(found.labels):
        said.append(f"columns: {listed_columns(cells)}")
    return said


def columns_of(path: Path) -> dict[str, Sequence[object]]:
    """All columns of one table. Raises DataError when it cannot be read or has no header."""
    config = FilesData(source="files", train=path)
    known = (*TEXT, *LABEL, *IMAGE)
    names = table_start(path, known, config).names
    if len(names) == 1:  # maybe none of the known names is there, and the columns are not separated as usual
        for delimiter in ("\t", ";", "|", ","):
            if delimiter in names[0]:
                config = config.model_copy(update={"delimiter": delimiter})
                names = table_start(path, known, config).names
                break
    # The second of the wanted columns is taken for the labels; a table may have one column alone.
    table = table_start(path, (*names, "") if len(names) == 1 else tuple(names), config)
    return {name: table.columns[name] for name in table.names}


def _first_table(path: Path) -> Path:
    """The file itself, or the first table in a folder."""
    if path.is_file():
        return path
    seen = [file.relative_to(path) for file in sorted(path.rglob("*")) if file.is_file()]
    tables = [
        file
        for file in seen
        if suffix_of(file) in PARTS and not any(part.startswith((".", "_")) for part in file.parts)
    ]
    if not tables:
        raise DataError(f"data {path} has neither images nor tables in it; name the file or folder that has")
    return path / tables[0]


def _is_folder_of_images(path: Path) -> bool:
    """Whether most files that could be data are images, in a folder or in a zip."""
    if path.is_dir():
        names = [file.name for file in path.rglob("*")]
    elif zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if not name.startswith("__MACOSX")]
    else:
        return False
    suffixes = [Path(name).suffix.lower() for name in names if not name.startswith(".")]
    images = sum(suffix in IMAGE_SUFFIXES for suffix in suffixes)
    # Images may have a table beside them; a folder of tables has no images.
    return images > sum(suffix in PARTS for suffix in suffixes)


def _has_folders(path: Path) -> bool:
    """Whether the images lie in folders, which are their labels."""
    if path.is_file():
        return True  # a zip of a folder; its reader says if there are none
    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in path.glob("[!.]*/**/*"))


def _has_header(path: Path) -> bool:
    """Whether the first line of a .txt file names columns, and is no text of its own."""
    with path.open("rb") as file:
        first = file.readline().decode("utf-8", errors="replace")
    return "\t" in first and guess({name.strip(): [] for name in first.split("\t")}).text is not None


def _npz(path: Path, full: Path) -> Source:
    with np.load(full) as stored:
        there = set(stored.files)
    found = next(((train, held) for train, held in NPZ_KEYS if set(train) <= there), None)
    if found is None:
        raise DataError(
            f"data {path}: no arrays of images and labels are found by their names ({', '.join(sorted(there)[:6])}); "
            "write a recipe that names them in train_keys (see `python -m optimize show cifar10`)"
        )
    train, held = found
    keys: dict[str, Any] = {"source": "npz", "path": str(path), "train_keys": list(train)}
    keys["holdout_keys"] = list(held) if set(held) <= there else []
    keys["classes_key"] = next((name for name in CLASS_KEYS if name in there), "")
    return Source(keys, (f"arrays {', '.join(train)}",))
