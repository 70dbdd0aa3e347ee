"""CORS and a user's own middleware surround the fast path; BentoML's own does not, and says so where it matters."""

from __future__ import annotations

from typing import Any

import bentoml
import httpx
import pytest
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http import around
from serving.http.draining import Draining
from serving.http.fast_path import install_fast_path
from tests.serving.asgi import asked

THERE, ELSEWHERE = "https://there.example", "https://elsewhere.example"


class Locked:
    """A user's check of callers."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app, self._key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (b"x-key", self._key.encode()) not in scope["headers"]:
            return await PlainTextResponse("no key", 401)(scope, receive, send)
        await self._app(scope, receive, send)


async def work(_request: Request) -> Response:
    return PlainTextResponse("worked", headers={"Server-Timing": "total;dur=1"})


def app_with(*middleware: Middleware) -> Starlette:
    """An application with a fast path for POST /work and GET /readyz."""
    app = Starlette(middleware=middleware)
    app.middleware_stack = app.build_middleware_stack()
    install_fast_path(app, {"/work": work}, Draining(None), {"/readyz": work})
    return app


def cors(**options: Any) -> Middleware:
    return Middleware(CORSMiddleware, **{"allow_origins": [THERE], **options})


def preflight(origin: str, wanted: str = "content-type, x-budget-ms") -> tuple[str, str, dict[str, Any]]:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
    return "OPTIONS", "/work", {"headers": {"Origin": origin, **asks}}


def allowed(reply: httpx.Response) -> str | None:
    return reply.headers.get("access-control-allow-origin")


def test_a_page_of_an_allowed_origin_may_ask_and_read() -> None:
    first, post, lost = asked(
        app_with(cors()),
        preflight(THERE),
        ("POST", "/work", {"headers": {"Origin": THERE}}),
        ("GET", "/lost", {"headers": {"Origin": THERE}}),
    )
    assert (first.status_code, post.status_code, lost.status_code) == (200, 200, 404)
    assert {allowed(each) for each in (first, post, lost)} == {THERE}
    assert set(post.headers["access-control-expose-headers"].split(", ")) == set(around.EXPOSED)


def test_a_page_of_another_origin_may_not() -> None:
    first, post = asked(app_with(cors()), preflight(ELSEWHERE), ("POST", "/work", {"headers": {"Origin": ELSEWHERE}}))
    assert first.status_code == 400
    assert allowed(first) is allowed(post) is None


def test_what_the_configuration_says_of_cors_counts() -> None:
    app = app_with(cors(allow_headers=["X-Own"], expose_headers=["X-Mine"], allow_methods=["POST"]))
    own, ours = asked(app, preflight(THERE, "x-own"), preflight(THERE, "x-budget-ms"))
    assert (own.status_code, ours.status_code) == (200, 400)
    lone = app_with(cors(allow_headers="X-Own", expose_headers="X-Mine", allow_methods="POST"))
    assert asked(lone, preflight(THERE, "x-own"))[0].status_code == 200
    (post,) = asked(lone, ("POST", "/work", {"headers": {"Origin": THERE}}))
    assert {"X-Mine", *around.EXPOSED} == set(post.headers["access-control-expose-headers"].split(", "))


def test_without_cors_no_header_says_anything() -> None:
    (post,) = asked(app_with(), ("POST", "/work", {"headers": {"Origin": THERE}}))
    assert not [name for name in post.headers if name.startswith("access-control")]


def test_a_user_s_check_is_not_passed_by_and_a_page_may_read_its_refusal() -> None:
    app = app_with(Middleware(Locked, key="k"), cors())
    refused, post, probe = asked(
        app,
        ("POST", "/work", {"headers": {"Origin": THERE}}),
        ("POST", "/work", {"headers": {"X-Key": "k"}}),
        ("GET", "/readyz", {}),
    )
    assert [each.status_code for each in (refused, post, probe)] == [401, 200, 401]
    assert allowed(refused) == THERE


def test_a_limit_of_bentoml_that_posts_do_not_meet_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENTOML_DO_NOT_TRACK", "True")
    said: list[str] = []
    monkeypatch.setattr(around.logger, "warning", lambda text, *values: said.append(text % values))

    @bentoml.service(name="limited", traffic={"max_concurrency": 3}, http={"cors": {"enabled": False}})
    class Limited:
        pass

    app = Limited.to_asgi()
    assert not around.taken_out(app)
    assert any(each.cls is OpenTelemetryMiddleware for each in app.user_middleware)
    assert "MaxConcurrencyMiddleware" in said[0]
    assert "OpenTelemetry" not in said[0]
    assert "TimeoutMiddleware" not in said[0]
