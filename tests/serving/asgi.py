"""Asks endpoints as a client does, without a server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import ASGIApp, Message

from serving.http.fast_path import Endpoint
from serving.http.intake import Body, Intake
from serving.load.memory import MemoryLimit

T = TypeVar("T")


def routed(methods: Mapping[str, str], endpoints: Mapping[str, Endpoint]) -> Starlette:
    """An application with one route for each address."""
    return Starlette(routes=[Route(path, endpoints[path], methods=[method]) for path, method in methods.items()])


def posting(endpoint: Endpoint) -> Starlette:
    """An application with one endpoint, at POST /."""
    return routed({"/": "POST"}, {"/": endpoint})


def asked(app: ASGIApp, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    """The responses to simultaneous requests, each a method, a path and what httpx takes besides."""

    async def ask(client: httpx.AsyncClient) -> list[httpx.Response]:
        return await asyncio.gather(*(client.request(method, path, **more) for method, path, more in requests))

    return with_client(app, ask)


def post(app: ASGIApp, path: str = "/", **more: Any) -> httpx.Response:
    """The response to one POST."""
    (response,) = asked(app, ("POST", path, more))
    return response


def get(app: ASGIApp, path: str = "/", **more: Any) -> httpx.Response:
    """The response to one GET."""
    (response,) = asked(app, ("GET", path, more))
    return response


def with_client(app: ASGIApp, scenario: Callable[[httpx.AsyncClient], Awaitable[T]]) -> T:
    """What `scenario` returns, run in an event loop of its own."""

    async def main() -> T:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://sieve") as client:
            return await scenario(client)

    return asyncio.run(main())


def request_of(*messages: Message, headers: Mapping[str, str] | None = None, query: str = "") -> Request:
    """A POST whose body arrives as these ASGI messages; after the last one nothing more comes."""
    left = list(messages)

    async def receive() -> Message:
        if left:
            return left.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("nobody sets the event")

    raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": query.encode(), "headers": raw}
    return Request(scope, receive)


def body_of(*messages: Message, headers: Mapping[str, str] | None = None, query: str = "") -> Body:
    """The body of such a request; there is memory enough."""
    return Intake(MemoryLimit(1_000_000_000)).open(request_of(*messages, headers=headers, query=query))


def piece(data: bytes, more: bool = False) -> Message:
    """A part of a body."""
    return {"type": "http.request", "body": data, "more_body": more}
