"""Addresses and methods that are not there."""

from __future__ import annotations

import asyncio
import json

from starlette.exceptions import HTTPException

from serving.http.nowhere import SHOWN_CHARACTERS, nowhere
from tests.serving.asgi import request_of

HANDLER = nowhere({"/work": "POST", "/state": "GET", "/v2": "GET", "/v2/models/{name}": "GET"})


def test_an_address_that_is_not_there_is_told_so_in_the_shape_of_all_errors() -> None:
    request = request_of(headers={"X-Request-Id": "one"})
    reply = asyncio.run(HANDLER(request, HTTPException(405, headers={"Allow": "GET"})))
    assert (reply.status_code, reply.headers["allow"], reply.headers["x-request-id"]) == (405, "GET", "one")
    assert json.loads(bytes(reply.body)) == {
        "error": {"field": None, "message": "POST /: method not allowed; use one of POST /work, GET /state"},
        "request_id": "one",
    }


def test_a_long_address_is_named_only_in_part() -> None:
    request = request_of()
    request.scope["path"] = "/" + "x" * 10_000
    reply = asyncio.run(HANDLER(request, HTTPException(404)))
    assert len(reply.body) < SHOWN_CHARACTERS + 200


def test_below_v2_an_error_is_a_sentence_and_names_what_is_there() -> None:
    for path in ("/v2/model", "/v2"):
        request = request_of()
        request.scope["path"] = path
        reply = asyncio.run(HANDLER(request, HTTPException(404)))
        said = f"POST {path}: not found; use one of GET /v2, GET /v2/models/{{name}}"
        assert json.loads(bytes(reply.body)) == {"error": said}
    request.scope["path"] = "/v20"
    assert "request_id" in json.loads(bytes(asyncio.run(HANDLER(request, HTTPException(404))).body))
