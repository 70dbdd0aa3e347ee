"""Write a recipe as TOML with comments."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 118
COMMENT_COLUMN = 34


@dataclass(frozen=True, slots=True)
class Table:
    """One table: its header as it is written, its values, a comment above it, and comments beside values."""

    header: str
    values: Mapping[str, Any]
    above: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)


def written(tables: Sequence[Table]) -> str:
    """The tables as TOML. A table without a header must be the first."""
    return "\n".join("\n".join(_lines(table)) + "\n" for table in tables)


def _lines(table: Table) -> list[str]:
    lines = commented(table.above) if table.above else []
    if table.header:
        lines.append(table.header)
    for name, value in table.values.items():
        line = f"{_key(name)} = {toml_value(value)}"
        beside = table.beside.get(name)
        if beside:
            together = f"{line:<{COMMENT_COLUMN}}# {beside}"
            lines += [together] if len(together) <= WIDTH else [*commented(beside), line]
        else:
            lines.append(line)
    return lines


def commented(text: str) -> list[str]:
    """Comment lines of at most WIDTH characters; lines of `text` stay apart."""
    lines = []
    for line in text.splitlines():
        current = "#"
        for word in line.split(" "):
            if len(current) + 1 + len(word) > WIDTH and current != "#":
                lines.append(current)
                current = "#"
            current += f" {word}"
        lines.append(current)
    return lines


def toml_value(value: Any) -> str:
    """A string, number or boolean as TOML, or a list or table of them."""
    if isinstance(value, str):
        # A JSON string is a basic string of TOML, except for one character that TOML wants escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{_key(name)} = {toml_value(each)}' for name, each in value.items())} }}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(toml_value, value))}]"
    raise TypeError(f"a recipe has no {type(value).__name__}")


def _key(name: str) -> str:
    return name if name.replace("_", "").replace("-", "").isalnum() and name.isascii() else toml_value(name)
