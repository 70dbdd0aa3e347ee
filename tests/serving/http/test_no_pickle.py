"""A pickle is recognised by its headers and refused before its body is read."""

from __future__ import annotations

import asyncio

import pytest
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from serving.http.no_pickle import REFUSED, NoPickle, brings_pickle
from tests.serving.asgi import post

PICKLE = "application/vnd.bentoml+pickle"


@pytest.mark.parametrize(
    ("headers", "brings"),
    [
        ([], False),
        ([("content-type", "application/json")], False),
        ([("content-type", PICKLE)], True),
        ([("content-type", f"{PICKLE.upper()}; charset=utf-8")], True),
        ([("content-type", "application/json"), ("content-type", PICKLE)], True),
        ([("payload-container", "NdarrayContainer")], True),
        ([("buffer-lengths", "60")], True),
        ([("accept", PICKLE)], False),
    ],
)
def test_headers_say_whether_a_body_is_a_pickle(headers: list[tuple[str, str]], brings: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    assert brings_pickle(Headers(raw=raw)) == brings


def test_a_pickle_is_refused_and_other_requests_pass() -> None:
    app = NoPickle(PlainTextResponse("hello"))
    refused = post(app, headers={"content-type": PICKLE})
    assert (refused.status_code, refused.text, refused.headers["connection"]) == (415, REFUSED, "close")
    assert post(app, headers={"content-type": "application/json"}).text == "hello"


def test_the_body_of_a_pickle_is_not_read() -> None:
    async def receive() -> Message:
        raise AssertionError("read a pickle")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", PICKLE.encode())]}
    asyncio.run(NoPickle(PlainTextResponse("hello"))(scope, receive, send))
    assert sent[0]["status"] == 415


def test_messages_without_headers_pass() -> None:
    seen = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing(*_: object) -> Message:
        raise AssertionError("nothing is read or sent")

    asyncio.run(NoPickle(app)({"type": "lifespan"}, nothing, nothing))  # type: ignore[arg-type]  # send returns None
    assert seen == ["lifespan"]
