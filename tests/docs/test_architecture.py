"""docs/architecture.md: its rooms are the folders that there are. tests/docs/test_pages.py finds the files it names."""

from __future__ import annotations

from tests.conftest import ROOT
from tests.docs.reading import read, table

PARTS = ("serving", "optimize", "loadtest", "benchmarks", "supply")


def test_its_rooms_are_the_packages() -> None:
    rooms = [row[0].strip("`") for row in table(read("docs/architecture.md"), "| folder | holds |")]
    packages = [path.parent for part in PARTS for path in (ROOT / part).rglob("__init__.py")]
    assert sorted(rooms) == sorted(package.relative_to(ROOT).as_posix() for package in packages)
