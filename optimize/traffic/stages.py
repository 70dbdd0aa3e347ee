"""What screen and expert say of unlabelled traffic: read in chunks, kept in the build folder, so that a run goes on."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from numpy.typing import NDArray

from optimize.data.said import tell
from optimize.results import digest_of
from optimize.score.asked import Asked
from optimize.score.columns import Chunk
from optimize.score.parts import Parts, folder_of
from optimize.score.run import chunk_rows, run_rest
from optimize.score.scorer import Both, Scorer
from optimize.score.source import open_source
from serving.arrays import Logits
from serving.cascade.modality import StoredCascade

PREFIX = "traffic-"
LOGITS = pyarrow.list_(pyarrow.float32())
SCHEMA = pyarrow.schema(
    [("error", pyarrow.string()), ("screen", LOGITS), ("expert", LOGITS), ("length", pyarrow.int64())]
)
"""One row for each row of the traffic, and nothing of its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Logits [items, labels] and lengths [items] of the rows that can be used, and why the others cannot."""

    name: str
    screen: Logits
    expert: Logits
    lengths: NDArray[np.int64]
    errors: Counter[str]

    def __len__(self) -> int:
        return len(self.screen)


def read_traffic(cascade: StoredCascade, scorer: Scorer, path: Path, asked: Asked, folder: Path) -> Traffic:
    """Run both stages of `cascade`, which `scorer` has opened, over all rows of `path`.

    What is done is kept in `folder` until other traffic is read. Raises DataError for an input that cannot be read.
    """
    source = open_source(path, asked, scorer.kind, pairs=scorer.pairs)
    for note in source.notes:
        tell(source.name, note)
    made_from: dict[str, Any] = {
        "input": source.digest,
        "cascade": [
            *(stage.artifact.digest for stage in (cascade.screen, cascade.expert)),
            scorer.screen.variant,
            scorer.expert.variant,
        ],
        "options": asked.described(),
        "rows": chunk_rows(cascade),
    }
    out = folder / f"{PREFIX}{digest_of(made_from)[:12]}"

    def table(chunk: Chunk) -> pyarrow.Table:
        return _table(scorer.both(source.contents(chunk.table, chunk.faults)))

    with Parts.opened(out, made_from) as parts:
        run_rest(source, table, parts, made_from["rows"])
        read = _together(source.name, parts.tables(), len(scorer.labels))
    for other in folder.glob(f"{PREFIX}*.parts"):
        if other != folder_of(out):
            shutil.rmtree(other, ignore_errors=True)
    return read


def _table(both: Both) -> pyarrow.Table:
    rows: list[dict[str, Any]] = []
    said = zip(both.screen.tolist(), both.expert.tolist(), both.lengths.tolist(), strict=True)
    for error in both.errors:
        if error is not None:
            rows.append({"error": error})
        else:
            screen, expert, length = next(said)
            rows.append({"screen": screen, "expert": expert, "length": length})
    return pyarrow.Table.from_pylist(rows, schema=SCHEMA)


def _together(name: str, tables: Iterator[pyarrow.Table], labels: int) -> Traffic:
    errors: Counter[str] = Counter()
    screen, expert, lengths = [], [], []
    for table in tables:
        errors.update(error for error in table["error"].to_pylist() if error is not None)
        there = table.filter(pyarrow.compute.is_null(table["error"]))
        screen.append(_logits(there["screen"], labels))
        expert.append(_logits(there["expert"], labels))
        lengths.append(there["length"].to_numpy())
    return Traffic(
        name=name,
        screen=np.concatenate(screen),
        expert=np.concatenate(expert),
        lengths=np.concatenate(lengths),
        errors=errors,
    )


def _logits(column: Any, labels: int) -> Logits:
    flat = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat, dtype=np.float32).reshape(-1, labels)


def error_counts(errors: Counter[str], most: int) -> Sequence[str]:
    """The most frequent errors, each with how often it came."""
    return [f"{error} ({count:,})" for error, count in errors.most_common(most)]
