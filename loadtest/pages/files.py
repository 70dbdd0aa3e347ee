"""The files of a result, each written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined


def write_text(path: Path, text: str) -> None:
    """Write a neighbouring file and rename it, so that a full disk or a signal leaves the old file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.partial")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def write_json(path: Path, value: Mapping[str, object]) -> None:
    """Write indented JSON; ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def page(template: str, **values: object) -> str:
    """Render a page of `loadtest/pages/templates`."""
    loader = PackageLoader("loadtest.pages", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
    return environment.get_template(template).render(**values)
