"""A service whose parts are broken, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.breaking import Load
from benchmarks.broken_site import Site, site
from loadtest.traffic.workload import text_samples
from tests.conftest import TinyCascades

BUDGET_MS = 300


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("broken")


@pytest.fixture(scope="session")
def there(tiny_cascades: TinyCascades, folder: Path) -> Iterator[Site]:
    with site(tiny_cascades.home / "models", "tiny-text", folder) as served:
        yield served


@pytest.fixture(scope="session")
def load() -> Load:
    """What is sent; a test names the URL."""
    return Load("", text_samples(None, BUDGET_MS, seed=1), rate=30.0, before_s=2.0)
