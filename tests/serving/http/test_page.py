"""The page's files: they name no other host, and are sent with a policy, a type and an ETag."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.applications import Starlette

from serving.http.page import FILES, page_routes
from tests.serving.asgi import asked, get

HTML = ("index.html", "reference.html")
VIEWER = ("swagger-ui.css", "swagger-ui-bundle.js")
MAX_BYTES = 100_000


@pytest.fixture
def app(tmp_path: Path) -> Starlette:
    """An application with the page alone; the viewer's files are there in name."""
    viewer = tmp_path / "viewer"
    viewer.mkdir()
    (tmp_path / "secret").write_text("not for visitors")
    for name in VIEWER:
        (viewer / name).write_text("/* from a package */")
    return Starlette(routes=page_routes(viewer))


def named(name: str) -> set[str]:
    """What an HTML document loads."""
    return set(re.findall(r'(?:src|href)="(page/[^"]+)"', (FILES / name).read_text(encoding="utf-8")))


def test_all_that_the_documents_load_is_there(app: Starlette) -> None:
    addresses = sorted(set().union(*map(named, HTML)))
    assert {"page/page.js", "page/page.css", *(f"page/{name}" for name in VIEWER)} <= set(addresses)
    replies = asked(app, *(("GET", f"/{address}", {}) for address in addresses))
    kinds = {"css": "text/css", "js": "javascript", "svg": "image/svg+xml"}
    for address, reply in zip(addresses, replies, strict=True):
        assert reply.status_code == 200
        assert kinds[address.rpartition(".")[2]] in reply.headers["content-type"]


def test_it_is_small_and_names_no_other_host() -> None:
    files = list(FILES.iterdir())
    assert sum(file.stat().st_size for file in files) < MAX_BYTES
    for file in files:
        addresses = set(re.findall(r"https?://[^\s\"'`<>]+", file.read_text(encoding="utf-8")))
        assert addresses <= {"http://www.w3.org/2000/svg"}, file.name
        if file.suffix == ".html":
            assert not re.search(r"<style|style=|<script(?![^>]*src=)| on\w+=", file.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("address", "images"), [("/", False), ("/reference", True), ("/page/page.js", False)])
def test_a_policy_keeps_the_browser_at_this_host(app: Starlette, address: str, images: bool) -> None:
    headers = get(app, address).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self'; ")
    assert "unsafe" not in policy
    assert ("data:" in policy) == images, "only Swagger UI has pictures in its style sheet"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("address", ["/", "/page/page.css"])
def test_a_client_that_has_the_file_does_not_get_it_again(app: Starlette, address: str) -> None:
    first = get(app, address)
    assert first.headers["cache-control"] == "no-cache"
    again = get(app, address, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert get(app, address, headers={"If-None-Match": '"other"'}).status_code == 200


def test_nothing_else_is_sent(app: Starlette) -> None:
    for address in ("/page/", "/page/absent.js", "/page/../secret", "/page/%2e%2e/secret", "/page//etc/passwd"):
        assert get(app, address).status_code == 404, address
    (post,) = asked(app, ("POST", "/", {}))
    assert post.status_code == 405
