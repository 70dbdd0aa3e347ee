"""The mounted application finds its service late, and puts its POSTs on the fast path when the server starts."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any

import bentoml
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from serving.http.draining import Draining
from serving.http.gate import OPEN
from serving.http.mount import Methods, MountedService, mounted_app
from serving.http.readiness import Readiness
from tests.serving.asgi import asked

METHODS: Methods = {"/work": "POST", "/state": "GET"}
NEVER = Draining(None)


async def work(_request: Request) -> Response:
    return PlainTextResponse("worked")


async def state(_request: Request) -> Response:
    return PlainTextResponse("fine")


def running(app: Starlette) -> MountedService:
    """A service in `app`, as BentoML leaves it."""
    endpoints = {"/work": work, "/state": state}
    lag: Any = SimpleNamespace(watching=contextlib.nullcontext)
    to_async: Any = SimpleNamespace(app=app)
    return SimpleNamespace(endpoints=endpoints, readiness=Readiness(NEVER), gate=OPEN, lag=lag, to_async=to_async)


def test_the_service_is_looked_up_only_once_there_are_requests() -> None:
    made: list[MountedService] = []
    app = mounted_app(METHODS, lambda: made[0], NEVER)
    assert {route.path for route in app.routes} == {*METHODS, "/"}  # type: ignore[attr-defined]  # all are Routes
    made.append(running(app))
    replies = asked(app, ("POST", "/work", {}), ("GET", "/state", {}), ("GET", "/work", {}), ("GET", "/other", {}))
    assert [(r.status_code, r.text) for r in replies[:2]] == [(200, "worked"), (200, "fine")]
    assert [r.status_code for r in replies[2:]] == [405, 404]


def test_at_start_up_the_posts_and_probes_are_put_on_the_fast_path() -> None:
    whole = Starlette()
    whole.middleware_stack = whole.build_middleware_stack()
    app = mounted_app(METHODS, lambda: running(whole), NEVER)

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    assert [r.status_code for r in asked(whole, ("POST", "/work", {}), ("GET", "/state", {}))] == [404, 404]
    asyncio.run(start())
    assert [r.status_code for r in asked(whole, ("POST", "/work", {}), ("GET", "/state", {}))] == [200, 404]
    assert [r.status_code for r in asked(whole, ("GET", "/readyz", {}), ("HEAD", "/livez", {}))] == [200, 200]


def test_posts_that_a_route_with_parameters_matches_are_on_the_fast_path_by_their_addresses() -> None:
    whole = Starlette()
    whole.middleware_stack = whole.build_middleware_stack()
    service = running(whole)
    service.endpoints = {**service.endpoints, "/models/{name}": state, "/models/a": work}  # type: ignore[misc]
    app = mounted_app({**METHODS, "/models/{name}": "POST"}, lambda: service, NEVER)

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pass

    asyncio.run(start())
    addresses = ("/models/a", "/models/b", "/models/{name}")
    replies = asked(whole, *(("POST", address, {}) for address in addresses))
    assert [reply.status_code for reply in replies] == [200, 404, 404]
    assert [reply.text for reply in asked(app, *(("POST", address, {}) for address in addresses))] == ["fine"] * 3


def test_the_address_of_bentoml_s_page_shows_a_page_of_ours_or_none() -> None:
    whole = Starlette()
    page = Route("/", state)
    for pages, status in (([page], 200), ([], 404)):
        app = mounted_app(METHODS, lambda: running(whole), NEVER, pages)
        index, post = asked(app, ("GET", "/", {}), ("POST", "/", {}))
        assert (index.status_code, post.status_code) == (status, 405)
        assert status == 200 or index.json()["error"]["message"].startswith("GET /: not found; use one of")


def test_bentoml_starts_a_mounted_application_after_the_service_and_before_the_first_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    passed: list[str] = []

    class Noting:
        """Middleware of a user, which every request meets."""

        def __init__(self, app: Starlette) -> None:
            self._app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            passed.append(scope.get("path", ""))
            await self._app(scope, receive, send)

    @bentoml.service(name="mounted", metrics={"enabled": False})
    @bentoml.asgi_app(mounted_app(METHODS, bentoml.get_current_service, NEVER), path="/")
    class Service:
        def __init__(self) -> None:
            self.endpoints = {"/work": work, "/state": state}
            self.readiness, self.gate = Readiness(NEVER), OPEN
            self.lag = SimpleNamespace(watching=contextlib.nullcontext)

    Service.add_asgi_middleware(Noting)
    whole = Service.to_asgi()

    async def play() -> list[httpx.Response]:
        async with whole.router.lifespan_context(whole):
            transport = httpx.ASGITransport(whole)
            async with httpx.AsyncClient(transport=transport, base_url="http://sieve") as client:
                lost = [await client.post(path) for path in ("/state", "/nowhere", "/work/", "/livez")]
                assert [reply.status_code for reply in lost] == [405, 404, 404, 405]
                for reply in lost:
                    assert reply.json()["error"]["message"].endswith("use one of POST /work, GET /state")
                    assert reply.json()["request_id"] == reply.headers["x-request-id"]
                passed.clear()
                return [await client.post("/work"), await client.get("/state"), await client.get("/livez")]

    # A server sends the lifespan's messages through the middleware, which makes the stack.
    whole.middleware_stack = whole.build_middleware_stack()
    assert [(r.status_code, r.text.strip()) for r in asyncio.run(play())] == [(200, "worked"), (200, "fine"), (200, "")]
    assert passed == ["/work", "/state", "/livez"]
