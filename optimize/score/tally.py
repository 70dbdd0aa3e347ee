"""The figures of a scored table: how many rows, who answered, what was invalid."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow
import pyarrow.compute

from optimize.data.said import counted

MOST_ERRORS = 20
"""Errors that the summary names; there may be one for each length of a text."""


@dataclass(slots=True)
class Tally:
    """Counts over tables that have columns of answers, whose names begin with `prefix`."""

    prefix: str = ""
    rows: int = 0
    escalated: int = 0
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, table: pyarrow.Table) -> None:
        """Count the rows of a table."""
        self.rows += table.num_rows
        self.escalated += pyarrow.compute.sum(table[f"{self.prefix}escalated"]).as_py() or 0
        found = pyarrow.compute.value_counts(table[f"{self.prefix}error"].drop_null())
        self.errors.update({each["values"]: each["counts"] for each in found.to_pylist()})

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
