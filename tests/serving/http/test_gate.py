"""The gate: which addresses need which right, what is refused and how, and how often a key and an address may ask."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from serving.http import gate as module
from serving.http.draining import Draining
from serving.http.fast_path import install_fast_path
from serving.http.gate import OPEN, Gate, Gated, is_open, right_for
from serving.http.keys import SCOPE_KEY, KeysFile, Right, digest_of, new_key
from serving.load.rate import RateByAddress
from tests.serving.asgi import asked, with_client
from tests.serving.http.test_keys import replaced

Counted = list[tuple[str, str]]
ALL: dict[str, Sequence[Right]] = {
    "shop": ["classify"],
    "own": ["classify", "high-priority"],
    "prometheus": ["metrics"],
    "ops": ["admin"],
}


class Behind:
    """An application behind a gate with a key for each name of ALL, and what the gate has counted."""

    def __init__(self, folder: Path, per_s: float | None = None, addresses: RateByAddress | None = None) -> None:
        self.file, self.counted, self.key = folder / "keys.toml", Counted(), dict[str, str]()
        entries = []
        for name, rights in ALL.items():
            self.key[name], entry = new_key(name, rights, per_s)
            entries.append(entry)
        self.file.write_text("\n".join(entries))
        self.gate = Gate(KeysFile(self.file), addresses, lambda key, outcome: self.counted.append((key, outcome)))
        self.app = self.gate.around(answering)

    def ask(self, method: str, path: str, name: str = "", **headers: str) -> httpx.Response:
        sent = {"X-API-Key": self.key[name]} if name else {}
        (reply,) = asked(self.app, (method, path, {"headers": {**sent, **headers}}))
        return reply


async def answering(scope: Any, receive: Any, send: Any) -> None:
    key = scope.get(SCOPE_KEY)
    await PlainTextResponse(key.name if key else "nobody")(scope, receive, send)


@pytest.fixture
def behind(tmp_path: Path) -> Behind:
    return Behind(tmp_path)


def test_without_keys_and_rates_there_is_no_gate() -> None:
    assert OPEN.around(answering) is answering
    assert not OPEN.stands


@pytest.mark.parametrize(
    "path",
    [
        "/livez",
        "/readyz",
        "/healthz",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/models/a/ready",
        "/v2/models/a/versions/1/ready",
        "/",
        "/reference",
        "/page/page.js",
    ],
)
def test_health_and_the_files_of_the_page_need_no_key(behind: Behind, path: str) -> None:
    assert is_open(path)
    assert behind.ask("GET", path).text == "nobody"
    assert behind.counted == []


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/docs.json",
        "/metrics",
        "/v2",
        "/v2/",
        "/v2/models/a",
        "/v2/models/a/infer",
        "/v2/health",
        "/nowhere",
        "/livez/",
        "/LIVEZ",
        "/v2/models/a/b/ready",
        "/v2/models//ready",
        "/page",
        "/schema.json",
        "/readyz;a",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
def test_everything_else_does(behind: Behind, method: str, path: str) -> None:
    reply = behind.ask(method, path)
    assert (reply.status_code, reply.headers["www-authenticate"]) == (401, "Bearer")
    assert behind.ask(method, path, **{"X-API-Key": "sieve_guess"}).status_code == 401
    assert behind.counted == [("none", "missing"), ("none", "unknown")]


@pytest.mark.parametrize(
    ("method", "path", "right"),
    [
        ("POST", "/classify_text", "classify"),
        ("POST", "/v2/models/a/infer", "classify"),
        ("POST", "/nowhere", "classify"),
        ("POST", "/feedback", "feedback"),
        ("GET", "/metrics", "metrics"),
        ("HEAD", "/metrics", "metrics"),
        ("POST", "/admin/models/a", "admin"),
        ("GET", "/admin/models/a", "admin"),
        ("GET", "/models", None),
        ("GET", "/docs.json", None),
        ("GET", "/v2/models/a", None),
    ],
)
def test_a_key_needs_the_right_of_its_address(behind: Behind, method: str, path: str, right: Right | None) -> None:
    assert right_for(method, path) == right
    for name, rights in ALL.items():
        reply = behind.ask(method, path, name)
        assert reply.status_code == (200 if right is None or right in rights else 403)
        said = name if reply.status_code == 200 else f"a key with the right {right}, got a key without it"
        assert method == "HEAD" or said in reply.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Authorization": "Bearer KEY"}, 200),
        ({"authorization": "bearer KEY"}, 200),
        ({"X-API-Key": "KEY", "Authorization": "Basic dTpw"}, 200),
        ({"Authorization": "KEY"}, 401),
        ({"Authorization": "Basic KEY"}, 401),
        ({"Authorization": "Bearer"}, 401),
        ({"X-API-Key": "", "Authorization": "Bearer KEY"}, 401),
        ({"X-API-Key": "guess", "Authorization": "Bearer KEY"}, 401),
        ({"Cookie": "X-API-Key=KEY"}, 401),
    ],
    ids=["bearer", "lower", "both", "bare", "basic", "empty", "no key", "other", "cookie"],
)
def test_a_key_comes_in_one_of_two_headers(behind: Behind, headers: dict[str, str], status: int) -> None:
    sent = {name: value.replace("KEY", behind.key["shop"]) for name, value in headers.items()}
    assert behind.ask("POST", "/classify_text", **sent).status_code == status


def test_of_several_such_headers_the_first_counts(behind: Behind) -> None:
    twice = [("X-API-Key", "guess"), ("X-API-Key", behind.key["shop"])]
    (reply,) = asked(behind.app, ("POST", "/classify_text", {"headers": twice}))
    assert reply.status_code == 401


def test_a_query_is_no_place_for_a_key(behind: Behind) -> None:
    assert behind.ask("POST", f"/classify_text?X-API-Key={behind.key['shop']}").status_code == 401


def test_refusals_are_errors_as_all_others(behind: Behind) -> None:
    ours = behind.ask("POST", "/classify_text", **{"X-Request-Id": "order-17"})
    assert ours.json() == {
        "error": {"field": None, "message": ours.json()["error"]["message"]},
        "request_id": "order-17",
    }
    assert ours.headers["x-request-id"] == "order-17"
    assert "got no such header; send it as `X-API-Key: KEY`" in ours.json()["error"]["message"]
    theirs = behind.ask("POST", "/v2/models/a/infer", **{"X-API-Key": "guess"})
    assert "got another value" in theirs.json()["error"]
    assert "guess" not in theirs.text


def test_a_key_may_ask_so_often(tmp_path: Path) -> None:
    behind = Behind(tmp_path, per_s=2)
    replies = [behind.ask("POST", "/classify_text", "shop") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert replies[2].headers["retry-after"] == "1"
    assert "this key has sent more requests a second than it may" in replies[2].json()["error"]["message"]
    assert behind.ask("POST", "/classify_text", "own").status_code == 200, "each key has a rate of its own"
    assert behind.counted == [("shop", "taken"), ("shop", "taken"), ("shop", "too-often"), ("own", "taken")]


def test_a_slow_rate_says_when_to_come_back(tmp_path: Path) -> None:
    behind = Behind(tmp_path, per_s=0.1)
    assert behind.ask("GET", "/models", "shop").status_code == 200
    assert 8 < int(behind.ask("GET", "/models", "shop").headers["retry-after"]) <= 10


def test_an_address_may_ask_so_often_whatever_key_it_guesses(tmp_path: Path) -> None:
    behind = Behind(tmp_path, addresses=RateByAddress(2))
    statuses = [behind.ask("GET", "/models", **{"X-API-Key": f"guess {n}"}).status_code for n in range(3)]
    assert statuses == [401, 401, 429]
    assert behind.ask("GET", "/models", "shop").status_code == 429
    assert behind.ask("GET", "/readyz").status_code == 200
    assert behind.counted[-1] == ("none", "address")


def test_an_address_is_limited_without_keys_too() -> None:
    gate = Gate(addresses=RateByAddress(1))
    replies = asked(gate.around(answering), *[("GET", "/models", {})] * 2)
    assert sorted(reply.status_code for reply in replies) == [200, 429]


def test_nothing_of_a_request_is_read_before_its_key(behind: Behind) -> None:
    async def receive() -> Any:
        raise AssertionError("nothing is read")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/classify_text", "headers": [], "client": None}
    asyncio.run(Gated(answering, behind.gate)(scope, receive, send))
    assert sent[0]["status"] == 401


def test_changed_keys_count_within_two_seconds(behind: Behind, monkeypatch: pytest.MonkeyPatch) -> None:
    assert module.LOOK_S <= 1
    monkeypatch.setattr(module, "LOOK_S", 0.01)
    key, entry = new_key("next", ["classify"])

    async def play(client: httpx.AsyncClient) -> None:
        with behind.gate.watching():
            headers = {"X-API-Key": key}
            assert (await client.get("/models", headers=headers)).status_code == 401
            replaced(behind.file, entry)
            async with asyncio.timeout(10):
                while (await client.get("/models", headers=headers)).status_code != 200:
                    await asyncio.sleep(0.01)
            assert (await client.get("/models", headers={"X-API-Key": behind.key["shop"]})).status_code == 401
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 1, "nobody looks any more"

    with_client(behind.app, play)


def test_without_keys_nobody_looks() -> None:
    async def play() -> int:
        with OPEN.watching():
            return len(asyncio.all_tasks())

    assert asyncio.run(play()) == 1


def test_it_stands_before_the_fast_path_and_bentoml_and_inside_cors(behind: Behind) -> None:
    async def work(_request: Request) -> Response:
        return PlainTextResponse("worked")

    there = "https://there.example"
    app = Starlette(middleware=[Middleware(CORSMiddleware, allow_origins=[there])])
    app.middleware_stack = app.build_middleware_stack()
    install_fast_path(app, {"/work": work}, Draining(None), {"/readyz": work}, behind.gate.around)
    preflight = {"Origin": there, "Access-Control-Request-Method": "POST"}
    wanted = {**preflight, "Access-Control-Request-Headers": "x-api-key, authorization, content-type"}
    first, refused, lost, probe, let = asked(
        app,
        ("OPTIONS", "/work", {"headers": wanted}),
        ("POST", "/work", {"headers": {"Origin": there}}),
        ("GET", "/lost", {}),
        ("GET", "/readyz", {}),
        ("POST", "/work", {"headers": {"X-API-Key": behind.key["shop"]}}),
    )
    assert [each.status_code for each in (first, refused, lost, probe, let)] == [200, 401, 401, 200, 200]
    assert refused.headers["access-control-allow-origin"] == there, "a page may read why"


def test_other_kinds_of_messages_go_on(behind: Behind) -> None:
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    coroutine: Any = Gated(app, behind.gate)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]  # nobody calls
    with contextlib.suppress(StopIteration):
        coroutine.send(None)
    assert seen == ["lifespan"]


def test_what_is_compared_is_a_digest(behind: Behind) -> None:
    """So neither the file nor the memory of the process holds a key."""
    assert digest_of(behind.key["shop"]).hex() in behind.file.read_text()
    assert behind.key["shop"] not in behind.file.read_text()
