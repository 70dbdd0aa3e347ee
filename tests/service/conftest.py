from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser import chromium
from tests.conftest import ROOT, TinyCascades
from tests.server import TINY, Server, serve
from tests.service.test_degraded import with_point


@pytest.fixture(scope="session")
def always(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose text screen never trusts itself: every text goes to the expert."""
    folder = tmp_path_factory.mktemp("always")
    home = with_point(tiny_cascades, folder, threshold=1.1)
    with serve(*TINY, home=home, folder=ROOT, log=folder / "log") as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium, for tests marked `needs_chromium`."""
    with chromium() as opened:
        yield opened
