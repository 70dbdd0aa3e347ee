from __future__ import annotations

from pathlib import Path

from optimize.score.packed import packed, unpacked
from tests.optimize.score.tiny_models import tiny_cascade


def test_a_cascade_travels_as_bytes(tmp_path: Path) -> None:
    cascade = tiny_cascade(tmp_path / "cascade")
    there = unpacked(packed(cascade), tmp_path / "elsewhere")
    assert there.screen.artifact.digest == cascade.screen.artifact.digest
    assert there.expert.artifact.digest == cascade.expert.artifact.digest
    assert there.point == cascade.point
    assert (there.screen.tag, there.expert.tag) == (cascade.screen.tag, cascade.expert.tag)
    assert there.screen.artifact.folder.is_relative_to(tmp_path / "elsewhere")
