"""The address for operators: who may use it, what it takes, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from serving.errors import SettingsError, SwitchRefusedError
from serving.http.admin import ADDRESS, AdminKey, admin_document, admin_endpoints
from serving.http.openapi import openapi
from tests.serving.asgi import post, routed
from tests.serving.http.test_gate import Behind

KEY = AdminKey("0123456789abcdef")
HEADERS = {"Authorization": f"Bearer {KEY.stated}"}


def asked(path: str = "/admin/models/a", key: AdminKey = KEY, **sent: Any) -> tuple[httpx.Response, list[Any]]:
    """The answer for operators of the cascades a and b, and what was switched."""
    switched: list[Any] = []

    async def switch(name: str, version: str | None) -> dict[str, object]:
        if version == "v9":
            raise SwitchRefusedError("a goes on with version v1: golden logits differ")
        switched.append((name, version))
        return {"name": name, "version": version or "newest"}

    app = routed(key.methods, admin_endpoints(["a", "b"], switch, key))
    return post(app, path, **{"headers": HEADERS, **sent}), switched


@pytest.mark.parametrize(
    ("sent", "version"),
    [({}, None), ({"json": {}}, None), ({"json": {"version": None}}, None), ({"json": {"version": "v2"}}, "v2")],
    ids=["nothing", "empty", "null", "version"],
)
def test_a_version_or_the_newest_is_switched_to(sent: dict[str, Any], version: str | None) -> None:
    reply, switched = asked(**sent)
    assert (reply.status_code, switched) == (200, [("a", version)])
    assert reply.json()["request_id"] == reply.headers["x-request-id"]


def test_each_name_has_an_address_of_its_own_that_needs_no_route() -> None:
    async def switch(_name: str, _version: str | None) -> dict[str, object]:
        return {}

    assert set(admin_endpoints(["a", "b"], switch, KEY)) == {ADDRESS, "/admin/models/a", "/admin/models/b"}


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "Authorization: must be Bearer and the key of SIEVE_ADMIN_KEY, got no such header"),
        ({"Authorization": "Bearer 0123456789abcdeX"}, "got another value"),
        ({"Authorization": KEY.stated}, "got another value"),
        ({"Authorization": "Bearer \xe4".encode("latin-1")}, "got another value"),
    ],
    ids=["none", "other", "bare", "latin"],
)
def test_without_the_key_nothing_is_switched(headers: Any, says: str) -> None:
    reply, switched = asked(headers=headers)
    assert (reply.status_code, reply.headers["www-authenticate"], switched) == (401, "Bearer", [])
    assert says in reply.json()["error"]["message"]
    assert KEY.stated not in reply.text
    reply, _ = asked("/admin/models/nobody", headers=headers)
    assert reply.status_code == 401, "names are not told without the key"


@pytest.mark.parametrize(
    ("path", "sent", "status", "says"),
    [
        ("c", {}, 404, "no cascade of this name is served here; use one of these: a, b"),
        ("a", {"json": {"version": "v9"}}, 409, "a goes on with version v1: golden logits differ"),
        ("a", {"json": {"version": 5}}, 422, "version: must be a version of an operating point, got a number"),
        ("a", {"json": {"version": ""}}, 422, "version: must be a version"),
        ("a", {"json": {"versoin": "v2"}}, 422, "body: may have the keys version, got 'versoin' too"),
        ("a", {"json": []}, 400, "body: must be a JSON object or empty, got a list"),
        ("a", {"content": b"{"}, 400, "body: must be JSON"),
        ("a", {"content": b" " * 5000}, 413, "body: must have at most"),
    ],
    ids=["name", "refused", "number", "empty", "key", "list", "json", "long"],
)
def test_what_is_wrong_is_told_and_nothing_is_switched(path: str, sent: dict[str, Any], status: int, says: str) -> None:
    reply, switched = asked(f"/admin/models/{path}", **sent)
    assert (reply.status_code, switched) == (status, [])
    assert says in reply.json()["error"]["message"]


def test_without_a_key_there_is_no_such_address() -> None:
    async def switch(_name: str, _version: str | None) -> dict[str, object]:
        raise AssertionError("nobody may")

    none = AdminKey("")
    assert (dict(none.methods), admin_endpoints(["a"], switch, none)) == ({}, {})


@pytest.mark.parametrize("key", ["short", "x" * 257, "sixteen and spaces", "sixteen_letters_ä"])
def test_a_weak_key_is_refused(key: str) -> None:
    with pytest.raises(SettingsError, match=r"^SIEVE_ADMIN_KEY: must be 16 to 256 visible ASCII characters"):
        AdminKey(key)


def test_the_document_describes_it() -> None:
    document = openapi(beside=admin_document(["a", "b"]))
    operation = document["paths"][ADDRESS]["post"]
    assert operation["security"] == [{"operator": []}]
    assert document["components"]["securitySchemes"]["operator"]["scheme"] == "bearer"
    assert operation["parameters"][0]["schema"]["enum"] == ["a", "b"]
    assert set(operation["responses"]) == {"200", "400", "401", "404", "409", "422"}
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    reply, _ = asked()
    Draft202012Validator(answer).validate(reply.json())


def test_an_api_key_opens_it_too_where_the_gate_has_looked_at_its_right(tmp_path: Path) -> None:
    async def switch(name: str, _version: str | None) -> dict[str, object]:
        return {"name": name}

    behind = Behind(tmp_path)
    app = behind.gate.around(routed(KEY.methods, admin_endpoints(["a"], switch, KEY)))
    statuses = [post(app, "/admin/models/a", headers={"X-API-Key": key}).status_code for key in behind.key.values()]
    assert statuses == [403, 403, 403, 200]
