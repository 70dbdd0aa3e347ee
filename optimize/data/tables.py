"""Tables of texts and labels: CSV, TSV, Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimize.data.rows import Rows, existing
from optimize.data.sources import FilesData
from optimize.errors import DataError


def read_table(config: FilesData, path: Path, root: Path) -> Rows:
    import pandas

    full = existing(path, root)
    try:
        if full.suffix == ".parquet":
            table = pandas.read_parquet(full)
        else:
            separator = "\t" if ".tsv" in full.suffixes else ","
            table = pandas.read_csv(full, sep=separator, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, EOFError, ValueError, pandas.errors.ParserError) as error:
        raise DataError(f"data {full} cannot be read ({error}); it must be CSV, TSV (also .gz) or Parquet") from None
    for column in (config.text_column, config.label_column):
        if column not in table.columns:
            there = ", ".join(map(str, table.columns))
            raise DataError(f"data {full} has no column {column!r}; it has {there}: set text_column and label_column")
    texts, labels = (_column(table[name], full) for name in (config.text_column, config.label_column))
    labels = [label.strip() for label in labels]  # "spam " and "spam" are one label
    return Rows("text", texts, labels, [f"{path.name}:{i}" for i in range(len(texts))], full.name)


def _column(values: Any, path: Path) -> list[str]:
    cells = ["" if value is None or value != value else str(value) for value in values]
    for row, cell in enumerate(cells, start=1):
        if not cell.strip():
            raise DataError(f"data {path}: row {row} has an empty {values.name!r}; fill it in or take the row out")
    return cells
