"""The answer where the router finds no such address, or no such method at an address: an error as all others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from serving.http.guard import problem, request_id_of, to_json

# What lies below is the Open Inference Protocol's, whose errors are sentences.
SENTENCES_BELOW = "/v2"

# An error names so much of an address, which a client may make as long as it likes.
SHOWN_CHARACTERS = 80


def nowhere(methods: Mapping[str, str]) -> Callable[[Request, Exception], Awaitable[Response]]:
    """A handler of HTTPException for a service with these addresses, each with its method."""
    named = {
        below: ", ".join(f"{method} {path}" for path, method in methods.items() if has_sentences(path) == below)
        for below in (False, True)
    }

    async def handler(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        request_id, address = request_id_of(request), request.scope["path"][:SHOWN_CHARACTERS]
        below = has_sentences(address)
        message = f"{request.method} {address}: {error.detail.lower()}; use one of {named[below]}"
        headers = {**(error.headers or {}), "X-Request-Id": request_id}
        body = {"error": message} if below else problem(message, request_id)
        return to_json(body, error.status_code, headers)

    return handler


def has_sentences(address: str) -> bool:
    """Whether the errors of an address are sentences, as the Open Inference Protocol has them."""
    return f"{address}/".startswith(f"{SENTENCES_BELOW}/")
