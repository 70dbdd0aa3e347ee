"""Tests mirror the tree: a file has its test file at the same path below tests/, and the other way round."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = ("optimize",)
# Nothing to test alone: `__main__` is tested through test_main.py, baselines and the locustfile are run by other tests.
WITHOUT = {"__init__.py", "__main__.py", "locustfile.py"}


def sources(tree: str) -> set[str]:
    """Paths of the test files that the sources of a tree ask for."""
    paths = [path.relative_to(ROOT) for path in (ROOT / tree).rglob("*.py") if path.name not in WITHOUT]
    return {str(path.with_name(f"test_{path.name}")) for path in paths if "baselines" not in path.parts}


@pytest.mark.parametrize("tree", TREES)
def test_every_file_has_its_test_file(tree: str) -> None:
    missing = {path for path in sources(tree) if not (ROOT / "tests" / path).is_file()}
    assert not missing


@pytest.mark.parametrize("tree", TREES)
def test_every_test_file_has_its_file(tree: str) -> None:
    tests = {str(path.relative_to(ROOT / "tests")) for path in (ROOT / "tests" / tree).rglob("test_*.py")}
    assert tests - {f"{tree}/test_main.py"} <= sources(tree)
