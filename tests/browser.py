"""Pages in a headless Chromium: what they show, which hosts they ask, and what the browser complains about."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.commands import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"
WIDTHS, SCHEMES = (360, 1280), ("light", "dark")
CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, whose processes end with the block."""
    with sync_playwright() as driver:
        # Its sandbox does not start for the superuser, and it shows pages of this machine alone.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """An open page. `complaints` are the browser's errors and warnings, also those of the page's security policy."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        page.on("request", lambda request: self.hosts.add(urlsplit(request.url).netloc))
        page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type in ("error", "warning") else None
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(address)

    def _said(self, said: ConsoleMessage) -> None:
        if said.type in ("error", "warning"):
            self.complaints.append(said.text)

    def drop(self, place: str, data: bytes, name: str) -> None:
        """Drop a file on the element that `place` selects."""
        script = """([encoded, name]) => {
            const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(encoded), (c) => c.charCodeAt(0));
            transfer.items.add(new File([bytes], name));
            return transfer;
        }"""
        transfer = self.page.evaluate_handle(script, [base64.b64encode(data).decode(), name])
        self.page.dispatch_event(place, "drop", {"dataTransfer": transfer})

    def text(self, place: str) -> str:
        """The visible text of an element."""
        return self.page.inner_text(place)

    def keep_pictures(self, name: str, *, whole: bool = True) -> None:
        """Keep a picture of the page for each width and colour scheme; no page may be wider than that.

        Without `whole` the picture ends where a window would.
        """
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            assert self.page.evaluate("document.documentElement.scrollWidth") <= width
            for scheme in SCHEMES:
                self.page.emulate_media(color_scheme=scheme)
                self.page.screenshot(path=picture(name, width, scheme), full_page=whole)


def picture(name: str, width: int, scheme: str) -> Path:
    return SCREENSHOTS / f"{name}-{width}-{scheme}.png"


@contextmanager
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """A page in a context of its own, without cookies or cache of others."""
    context = browser.new_context()
    context.set_default_timeout(20_000)
    try:
        yield Visit(context.new_page(), address)
    finally:
        context.close()
