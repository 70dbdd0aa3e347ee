"""docs/container.md shows what was measured, within its bounds; and a file is counted once."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from benchmarks.image_size import BEGIN, BOUND_BYTES, DOCS, END, size_of, table


def test_the_page_shows_what_was_measured() -> None:
    said = json.loads((DOCS / "measured" / "container" / "sizes.json").read_text())
    page = (DOCS / "container.md").read_text(encoding="utf-8")
    assert page.partition(BEGIN)[2].partition(END)[0] == table(said)
    assert set(said) == set(BOUND_BYTES)
    for provider, figures in said.items():
        assert 0 < figures["bounded_bytes"] <= figures["bound_bytes"] == BOUND_BYTES[provider]


def test_the_make_targets_on_the_page_exist() -> None:
    page = (DOCS / "container.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page, flags=re.MULTILINE))
    known = set(re.findall(r"^([a-z0-9-]+):", (DOCS.parent / "Makefile").read_text(), flags=re.MULTILINE))
    assert {"image", "image-gpu", "test-container"} <= named <= known


def test_a_file_is_counted_once(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"x" * 1000)
    os.link(tmp_path / "one", tmp_path / "two")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "three").write_bytes(b"x" * 10)
    assert size_of([tmp_path, tmp_path / "deep", tmp_path / "absent"]) == 1010
