"""Tests mirror the tree: a file has its test file at the same path below tests/, and the other way round."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TREES = ("serving", "optimize", "loadtest", "benchmarks", "supply")
# These may have a test file, and need none: the verbs' tests run `__main__`, Locust and the other servers; arrays.py
# holds two names of types.
FREE_NAMES, FREE_FOLDERS = {"__main__.py", "locustfile.py", "arrays.py"}, {"baselines"}


def mirrored(tree: str, *, free: bool) -> set[str]:
    """Paths of the test files that mirror a tree; those of the free files only with `free`."""
    paths = [path.relative_to(ROOT) for path in (ROOT / tree).rglob("*.py") if path.name != "__init__.py"]
    bound = [path for path in paths if path.name not in FREE_NAMES and not FREE_FOLDERS & set(path.parts)]
    return {str(path.with_name(f"test_{path.stem.strip('_')}.py")) for path in (paths if free else bound)}


@pytest.mark.parametrize("tree", TREES)
def test_every_file_has_its_test_file(tree: str) -> None:
    assert not {path for path in mirrored(tree, free=False) if not (ROOT / "tests" / path).is_file()}


@pytest.mark.parametrize("tree", TREES)
def test_every_test_file_has_its_file(tree: str) -> None:
    tests = {str(path.relative_to(ROOT / "tests")) for path in (ROOT / "tests" / tree).rglob("test_*.py")}
    assert not tests - mirrored(tree, free=True)
