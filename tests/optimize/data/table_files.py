"""The same four rows in every kind of table."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pandas
import pyarrow

TEXTS = ['say "hi", now', "tab\there", "Grüße 💳", "NA"]
LABELS = ["0", "1", "0", "1"]
TABLE = pandas.DataFrame({"text": TEXTS, "label": LABELS, "other": [1, 2, 3, 4]})
RECORDS = TABLE.to_dict(orient="records")


def zstd(data: bytes) -> bytes:
    packed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(packed, "zstd") as stream:
        stream.write(data)
    return packed.getvalue().to_pybytes()


def zipped(data: bytes, name: str = "t.csv") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, data)
    return file.getvalue()


def stored(write: Callable[[Any], object]) -> bytes:
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def stream(table: pandas.DataFrame) -> bytes:
    file, content = io.BytesIO(), pyarrow.Table.from_pandas(table)
    with pyarrow.ipc.new_stream(file, content.schema) as writer:
        writer.write_table(content)
    return file.getvalue()


def sheets() -> bytes:
    file = io.BytesIO()
    with pandas.ExcelWriter(file, engine="openpyxl") as writer:
        pandas.DataFrame({"about": ["notes"]}).to_excel(writer, sheet_name="Read me", index=False)
        TABLE.to_excel(writer, sheet_name="Rows", index=False)
    return file.getvalue()


def lines(table: pandas.DataFrame = TABLE) -> str:
    return "\n".join(json.dumps(row) for row in table.to_dict(orient="records"))


def csv(**keys: Any) -> bytes:
    return TABLE.to_csv(index=False, **keys).encode()


FORMATS: dict[str, bytes] = {
    "t.csv": csv(),
    "t.tsv": csv(sep="\t"),
    "tabs.csv": csv(sep="\t"),
    "semicolons.csv": csv(sep=";"),
    "bars.txt": csv(sep="|"),
    "commas.tsv": csv(),
    "excel.csv": b"sep=;\r\n" + csv(sep=";"),
    "crlf.csv": csv(lineterminator="\r\n"),
    "bom.csv": b"\xef\xbb\xbf" + csv(),
    "utf-16.csv": csv().decode().encode("utf-16"),
    "utf-16-le.csv": csv().decode().encode("utf-16-le"),
    "utf-16-be.tsv": csv(sep="\t").decode().encode("utf-16-be"),
    "all-quoted.csv": csv(quoting=1),
    "t.csv.gz": gzip.compress(csv(), mtime=0),
    "t.tsv.zst": zstd(csv(sep="\t")),
    "t.csv.zip": zipped(csv()),
    "t.jsonl": lines().encode(),
    "t.ndjson.gz": gzip.compress(lines().encode(), mtime=0),
    "named.json": lines().encode(),
    "array.json": json.dumps(RECORDS, indent=1).encode(),
    "inside.json": json.dumps({"version": 1, "data": RECORDS}).encode(),
    "columns.json": json.dumps(TABLE.to_dict(orient="list"), indent=1).encode(),
    "pandas.json": (TABLE.to_json() or "").encode(),
    "t.parquet": stored(TABLE.to_parquet),
    "category.parquet": stored(TABLE.astype({"label": "category"}).to_parquet),
    "integers.parquet": stored(TABLE.astype({"label": "int64"}).to_parquet),
    "floats.parquet": stored(TABLE.astype({"label": "float64"}).to_parquet),
    "floats.csv": TABLE.astype({"label": "float64"}).to_csv(index=False).encode(),
    "floats.json": json.dumps([row | {"label": float(row["label"])} for row in RECORDS]).encode(),
    "convert_dtypes.parquet": stored(TABLE.convert_dtypes().to_parquet),
    "bytes.parquet": stored(TABLE.assign(text=[text.encode() for text in TEXTS]).to_parquet),
    "index.parquet": stored(TABLE.set_index("text").to_parquet),
    "t.feather": stored(TABLE.to_feather),
    "t.arrow": stream(TABLE),
    "t.xlsx": sheets(),
}
