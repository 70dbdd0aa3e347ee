"""What an expert is asked to load, and what becomes of its answer."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest

from loadtest.traffic.process import free_port
from serving.errors import SwitchRefusedError
from serving.expert import loading as module
from serving.expert.loading import load_expert
from serving.expert_tls import SYSTEM


def loaded(reply: bytes, *, port: int = 0) -> bytes:
    """The request that reaches an expert which answers with these bytes."""
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"}"))
        writer.write(reply)
        await writer.drain()

    async def main() -> None:
        async with await asyncio.start_server(answer, "127.0.0.1", port) as server:
            host, at = server.sockets[0].getsockname()
            await load_expert(f"http://{host}:{at}", SYSTEM, "a key of sixteen", "my-text-expert:v2")

    asyncio.run(main())
    return seen[0]


def http(status: str, body: Any = None) -> bytes:
    data = orjson.dumps(body)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data


def test_it_is_asked_for_the_version_with_the_key() -> None:
    head, _, body = loaded(http("200 OK", {})).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /admin/models/my-text HTTP/1.1"
    assert "Authorization: Bearer a key of sixteen" in lines
    assert orjson.loads(body) == {"version": "v2"}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (http("404 Not Found", {}), "start it with the same SIEVE_ADMIN_KEY"),
        (http("409 Conflict", {"error": {"message": "golden logits differ"}}), "refuses .*:v2: golden logits differ"),
        (http("502 Bad Gateway", "?"), "refuses my-text-expert:v2: status 502"),
        (b"what?\r\n\r\n", "does not answer .MalformedError."),
        (b"", "does not answer .ConnectionResetError.|does not answer .TimeoutError."),
    ],
    ids=["no-address", "refused", "proxy", "no-http", "closed"],
)
def test_what_it_does_not_load_is_a_reason(monkeypatch: pytest.MonkeyPatch, reply: bytes, says: str) -> None:
    monkeypatch.setattr(module, "LOAD_LIMIT_S", 1.0 if reply else 0.05)
    with pytest.raises(SwitchRefusedError, match=says):
        loaded(reply)


def test_nobody_there_is_a_reason() -> None:
    with pytest.raises(SwitchRefusedError, match=r"does not answer \(ConnectionRefusedError\)"):
        asyncio.run(load_expert(f"http://127.0.0.1:{free_port()}", SYSTEM, "key", "a-expert:v1"))
