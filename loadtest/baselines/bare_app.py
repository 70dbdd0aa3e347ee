"""A bare ASGI application: what uvicorn with httptools and uvloop reaches where nothing is done but JSON. Run it so.

It reads the JSON of a request and writes the answer that the variable BARE_ANSWER holds as JSON, made anew for each
request, as a service would. There is no router, no validation, no model.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

ANSWER = orjson.loads(os.environ["BARE_ANSWER"])
JSON = (b"content-type", b"application/json")

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer GET with nothing, which tells that the server is ready, and POST with the answer."""
    if scope["type"] == "http":
        body = await answered(receive) if scope["method"] == "POST" else b""
        await send({"type": "http.response.start", "status": 200, "headers": [JSON, length(body)]})
        await send({"type": "http.response.body", "body": body})


async def answered(receive: Receive) -> bytes:
    """The answer to a request, whose `text` must be a string."""
    message = await receive()
    data = message["body"]
    while message.get("more_body"):
        message = await receive()
        data += message["body"]
    text = orjson.loads(data)["text"]
    assert isinstance(text, str), "the text must be a string"
    return orjson.dumps(dict(ANSWER))


def length(body: bytes) -> tuple[bytes, bytes]:
    """The header of a body's length."""
    return b"content-length", b"%d" % len(body)
