"""POSTs are answered in front of BentoML's middleware; everything else goes on to the application."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.http.draining import Draining
from serving.http.fast_path import FastPath, QuickRequest, install_fast_path
from tests.serving.asgi import asked, get, post

NEVER = Draining(None)


async def fast(request: Request) -> Response:
    return PlainTextResponse(f"fast: {(await request.body()).decode()}")


async def slow(_request: Request) -> Response:
    return PlainTextResponse("slow")


class Counting:
    """Middleware of BentoML, by its module, that counts the requests it sees."""

    __module__ = "bentoml._internal.server"
    seen = 0

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        type(self).seen += 1
        await self._app(scope, receive, send)


def started() -> Starlette:
    """An application with middleware, which has started as a server starts it."""
    Counting.seen = 0
    app = Starlette(routes=[Route("/work", slow, methods=["GET", "POST"])], middleware=[Middleware(Counting)])
    app.middleware_stack = app.build_middleware_stack()
    return app


def test_a_post_does_not_meet_the_middleware_of_bentoml() -> None:
    app = started()
    assert post(app, "/work", content=b"x").text == "slow"
    install_fast_path(app, {"/work": fast}, NEVER)
    assert post(app, "/work", content=b"x").text == "fast: x"
    assert Counting.seen == 1


def test_other_methods_and_addresses_go_on_to_the_application() -> None:
    app = started()
    install_fast_path(app, {"/work": fast}, NEVER)
    assert get(app, "/work").text == "slow"
    assert [r.status_code for r in asked(app, ("POST", "/work/", {}), ("POST", "/other", {}))] == [307, 404]
    assert Counting.seen == 3


def test_what_an_endpoint_raises_reaches_the_server() -> None:
    async def broken(_request: Request) -> Response:
        raise RuntimeError("out of memory")

    app = started()
    install_fast_path(app, {"/work": broken}, NEVER)
    with pytest.raises(RuntimeError, match="out of memory"):
        post(app, "/work")


def test_a_probe_meets_neither_that_middleware_nor_the_application_s_own_endpoint() -> None:
    app = started()
    install_fast_path(app, {}, NEVER, {"/work": fast})
    get_it, head = asked(app, ("GET", "/work", {}), ("HEAD", "/work", {}))
    assert (get_it.text, head.status_code, Counting.seen) == ("fast: ", 200, 0)
    assert post(app, "/work").text == "slow"


def test_other_kinds_of_messages_go_on_to_the_application() -> None:
    seen = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    path = FastPath(app, {"/work": fast})
    for kind in ("lifespan", "websocket"):
        coroutine = path({"type": kind, "path": "/work"}, None, None)  # type: ignore[arg-type]  # nobody calls them
        with pytest.raises(StopIteration):
            coroutine.send(None)
    assert seen == ["lifespan", "websocket"]


def test_a_connection_is_closed_after_its_answer_while_draining(tmp_path: Path) -> None:
    app, file = started(), tmp_path / "draining"
    draining = Draining(str(file))
    install_fast_path(app, {"/work": fast}, draining)
    file.touch()
    assert post(app, "/work").headers["connection"] == "close"
    assert get(app, "/work").headers["connection"] == "close"


def test_an_application_that_has_not_started_gets_no_fast_path() -> None:
    with pytest.raises(RuntimeError, match="has not started"):
        install_fast_path(Starlette(), {"/work": fast}, NEVER)


def test_headers_are_found_as_in_a_request_of_starlette() -> None:
    sent = [
        (b"x-a", b"first"),
        (b"content-type", b"text/plain"),
        (b"x-a", b"second"),
        (b"x-latin", "ü".encode("latin-1")),
    ]
    scope = {"type": "http", "method": "POST", "path": "/", "headers": sent}

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    ours, theirs = QuickRequest(scope, receive).headers, Request(scope).headers
    for name in ("x-a", "X-A", "Content-Type", "x-l", "x-missing"):
        assert ours.get(name) == theirs.get(name)
        assert ours.get(name, "none") == theirs.get(name, "none")
        assert (name in ours) == (name in theirs)
    assert ours.getlist("x-a") == ["first", "second"]
    assert ours["X-A"] == "first"
    with pytest.raises(KeyError):
        ours["x-missing"]
