"""Ties the endpoints of a service to the application that BentoML serves it with."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Literal, Protocol

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from serving.http.draining import Draining
from serving.http.fast_path import Endpoint, install_fast_path
from serving.http.gate import Gate
from serving.http.nowhere import nowhere
from serving.http.readiness import Readiness, probes
from serving.watch.lag import LoopLag

Methods = Mapping[str, Literal["GET", "POST"]]
"""The HTTP method of each address."""
# How long a thread that runs Python may keep the event loop waiting; 5 ms by default.
SWITCH_INTERVAL_S = 0.0005


class ClientOfItself(Protocol):
    """The client that BentoML gives each service for calls to itself; `app` is the service's whole application."""

    app: Starlette


class MountedService(Protocol):
    """A running service: its endpoints by address, whether it should get requests, and what BentoML added.

    An address in `endpoints` that is no route's is one that a route with parameters matches; POSTs to it are looked up
    before any route is. `lag` watches its event loop. All requests pass its `gate`.
    """

    endpoints: Mapping[str, Endpoint]
    readiness: Readiness
    gate: Gate
    lag: LoopLag
    to_async: ClientOfItself


def mounted_app(
    methods: Methods,
    service: Callable[[], MountedService],
    draining: Draining,
    pages: Sequence[BaseRoute] = (),
    beside: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Starlette:
    """An application for `bentoml.asgi_app` with one route for each address, and the routes of `pages`.

    An address may have parameters: `/{name}`. What `beside` gives is entered while the application runs.

    `service` is a callable because BentoML takes the application when it decorates the class, before the service
    exists. It is called once at start-up, to put the POSTs and the probes on the fast path, and for each request that a
    route answers. What no route answers, BentoML's own included, gets the error of `nowhere`. BentoML's page at `/`
    tells a third party of each visitor, so it is never shown.
    """
    elsewhere = nowhere(methods)

    def looked_up(address: str) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return await service().endpoints[address](request)

        return endpoint

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncGenerator[None, None]:
        # BentoML starts mounted applications after it has made the service and before it takes requests.
        running = service()
        posts = {
            address: endpoint
            for address, endpoint in running.endpoints.items()
            if methods.get(address, "POST") == "POST" and "{" not in address
        }
        whole = running.to_async.app
        whole.add_exception_handler(HTTPException, elsewhere)
        whole.router.redirect_slashes = False  # few clients follow a redirect with their body
        install_fast_path(whole, posts, draining, probes(running.readiness), running.gate.around)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        with running.lag.watching(), running.gate.watching(), beside():
            yield

    async def no_page(_request: Request) -> Response:
        raise HTTPException(404)

    routes = [Route(address, looked_up(address), methods=[method]) for address, method in methods.items()]
    hidden = Route("/", no_page)
    return Starlette(routes=[*routes, *pages, hidden], exception_handlers={HTTPException: elsewhere}, lifespan=lifespan)
