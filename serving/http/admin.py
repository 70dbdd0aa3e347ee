"""POST /admin/models/NAME: an operator has another version of a cascade served. There is none without a key."""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable

from starlette.requests import Request
from starlette.responses import Response

from serving.errors import InvalidInputError, KeyMissingError, MalformedError, NotServedError, SettingsError, kind_of
from serving.http.body import json_value, no_others
from serving.http.fast_path import Endpoint
from serving.http.guard import Guard, JsonObject
from serving.http.intake import Intake
from serving.http.keys import SCOPE_KEY
from serving.http.mount import Methods
from serving.http.openapi import Document
from serving.load.memory import MemoryLimit
from serving.watch.record import RequestRecord

VARIABLE = "SIEVE_ADMIN_KEY"
KEY = re.compile(r"[\x21-\x7e]{16,256}")
ADDRESS = "/admin/models/{name}"
MAX_BYTES = 4_096

Switch = Callable[[str, str | None], Awaitable[JsonObject]]
"""Has a cascade's version served, the newest for None, and says what is served then. Raises a SieveError."""


class AdminKey:
    """The key of operators; there may be none. Raises SettingsError if what is `stated` is no key."""

    def __init__(self, stated: str) -> None:
        if stated and not KEY.fullmatch(stated):
            raise SettingsError(
                f"{VARIABLE}: must be 16 to 256 visible ASCII characters, got others, fewer or more; make one with "
                "`openssl rand -hex 32`"
            )
        self.stated = stated

    @property
    def methods(self) -> Methods:
        """The address that there is with a key."""
        return {ADDRESS: "POST"} if self.stated else {}

    def require(self, request: Request) -> None:
        """Raise KeyMissingError unless a request brings the key, or an API key, at whose right the gate has looked."""
        if SCOPE_KEY in request.scope:
            return
        sent = request.headers.get("authorization", "").encode("latin-1")
        # How long it takes tells nothing of the key.
        if not hmac.compare_digest(sent, f"Bearer {self.stated}".encode()):
            raise KeyMissingError(
                f"Authorization: must be Bearer and the key of {VARIABLE}, got "
                f"{'another value' if sent else 'no such header'}; send the header"
            )


def admin_endpoints(names: Iterable[str], switch: Switch, key: AdminKey) -> dict[str, Endpoint]:
    """The endpoint of ADDRESS, and one for the address of each name; none without a key.

    The latter are looked up before any route, past BentoML's limit of time.
    """
    if not key.stated:
        return {}
    there = list(names)
    intake = Intake(MemoryLimit(MAX_BYTES))

    def switching(name: str) -> Endpoint:
        async def handler(request: Request, _record: RequestRecord) -> JsonObject:
            key.require(request)
            if name not in there:
                raise NotServedError(f"no cascade of this name is served here; use one of these: {', '.join(there)}")
            with intake.open(request) as body:
                version = await _version(await body.whole(MAX_BYTES, "body"))
            return await switch(name, version)

        return Guard.free(handler)

    async def of_no_name(request: Request) -> Response:
        return await switching(request.path_params["name"])(request)

    return {ADDRESS: of_no_name, **{ADDRESS.format(name=name): switching(name) for name in there}}


async def _version(data: bytes) -> str | None:
    """The version that a body names, None for the newest."""
    value = await json_value(data) if data.strip() else {}
    if not isinstance(value, dict):
        raise MalformedError("body", f"must be a JSON object or empty, got {kind_of(value)}; send version")
    no_others(set(value), {"version"}, "body")
    version = value.get("version")
    if not isinstance(version, str | None) or version == "":
        raise InvalidInputError(
            "version", f"must be a version of an operating point, got {kind_of(version)}; leave it out for the newest"
        )
    return version


def admin_document(names: Iterable[str]) -> Document:
    """What the OpenAPI document says of ADDRESS."""
    version = {"type": "string", "description": "that of the operating point; without it the newest"}
    taken = {"type": "object", "properties": {"version": version}, "additionalProperties": False}
    given = {
        "type": "object",
        "properties": {
            **{name: {"type": "string"} for name in ("name", "version", "before", "request_id")},
            "models": {"type": "object", "additionalProperties": {"type": "string"}},
            "processes": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
    }
    said = {
        "200": "What is served now, what was before, and how many processes of the API have switched",
        "400": "The body cannot be read",
        "401": "The key is missing, or another one",
        "404": "No cascade of this name is served",
        "409": "The version cannot be served, and why; the one before goes on",
        "422": "A value breaks a rule",
    }
    responses = {
        status: {
            "description": sentence,
            "content": {
                "application/json": {"schema": given if status == "200" else {"$ref": "#/components/schemas/Problem"}}
            },
        }
        for status, sentence in said.items()
    }
    operation = {
        "operationId": "switch",
        "tags": ["operate"],
        "summary": "Serve another version of a cascade",
        "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "enum": list(names)}},
        ],
        "security": [{"operator": []}],
        "requestBody": {"required": False, "content": {"application/json": {"schema": taken}}},
        "responses": responses,
    }
    bearer = {"type": "http", "scheme": "bearer", "description": f"the key of {VARIABLE}"}
    return {"paths": {ADDRESS: {"post": operation}}, "securitySchemes": {"operator": bearer}}
