"""What is said of a scored table at the end: in the terminal, and as JSON beside OUT."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute

from optimize.data.said import counted
from optimize.progress import console
from serving.model.artifact import write_json

MOST_ERRORS = 20
"""Errors that the summary names; there may be one for each length of a text."""


@dataclass(slots=True)
class Tally:
    """Counts over tables that have columns of answers, whose names begin with `prefix`."""

    prefix: str = ""
    rows: int = 0
    escalated: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def counting(self, table: pyarrow.Table) -> pyarrow.Table:
        """Count the rows of a table, and return it."""
        self.rows += table.num_rows
        self.escalated += pyarrow.compute.sum(table[f"{self.prefix}escalated"]).as_py() or 0
        found = pyarrow.compute.value_counts(table[f"{self.prefix}error"].drop_null())
        self.errors.update({each["values"]: each["counts"] for each in found.to_pylist()})
        return table

    @property
    def invalid(self) -> int:
        """Rows that have an error in the place of an answer."""
        return self.errors.total()

    @property
    def escalated_share(self) -> float:
        """The share of the valid rows that the expert was asked about."""
        return self.escalated / max(1, self.rows - self.invalid)

    def described(self) -> dict[str, Any]:
        """The counts, as JSON keeps them."""
        return {
            "rows": self.rows,
            "escalated": self.escalated,
            "escalated_share": self.escalated_share,
            "invalid": self.invalid,
            "errors": dict(self.errors.most_common(MOST_ERRORS)),
        }

    def sentences(self) -> list[str]:
        """The counts, for a reader."""
        said = [f"{counted(self.rows, 'row')}, {self.escalated_share:.1%} escalated"]
        if self.invalid:
            said.append(f"{counted(self.invalid, 'row')} without an answer:")
            said += [f"  {count:,}: {error}" for error, count in self.errors.most_common(MOST_ERRORS)]
        return said


def path_beside(out: Path) -> Path:
    """Where the summary of OUT lies."""
    return out.with_name(f"{out.name}.json")


def write_summary(out: Path, tally: Tally, ran: Mapping[str, Any], against_promise: Sequence[str]) -> dict[str, Any]:
    """Write what became of the rows and how they `ran` beside OUT, and return it."""
    promise = {"applies": not against_promise, "why_not": list(against_promise)}
    summary = {**tally.described(), **ran, "promise": promise}
    write_json(path_beside(out), summary)
    return summary


def say_summary(out: Path, tally: Tally, summary: Mapping[str, Any]) -> None:
    """Print the same in a few lines."""
    for sentence in tally.sentences():
        say(sentence)
    for why in summary["promise"]["why_not"]:
        say(f"the promise does not apply: {why}")
    rows = counted(summary["rows_this_run"], "row")
    say(f"{out}: {rows} in {summary['seconds']:.1f} s, {summary['rows_per_s']:,.0f} rows/s")


def say(sentence: str) -> None:
    """Print a sentence, whatever it holds."""
    console.print(sentence, markup=False, highlight=False, soft_wrap=True)
