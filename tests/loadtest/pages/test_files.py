"""The files of a result."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from loadtest.pages.files import page, write_json


def test_a_page_needs_every_value_of_its_template() -> None:
    with pytest.raises(UndefinedError, match="result"):
        page("compare.html")


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    write_json(tmp_path / "deep" / "a.json", {"b": 1})
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "deep" / "a.json", {"b": float("nan")})
    assert json.loads((tmp_path / "deep" / "a.json").read_text()) == {"b": 1}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]
