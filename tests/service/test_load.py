"""More at once than can be in flight: who is refused, how, and that all is well afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest

from tests.server import PATIENT_MS, Server, in_full
from tests.service.test_api import TEXTS


def request(number: int, priority: str, text: str | None = None) -> bytes:
    body = json.dumps({"text": text or f"message {number}: where is my refund", "budget_ms": 1000}).encode()
    head = f"POST /classify_text HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nX-Priority: {priority}\r\n"
    return f"{head}X-Request-Id: r{number}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def all_at_once(server: Server, requests: list[bytes]) -> list[tuple[int, dict[str, str], dict[str, Any]]]:
    """Open a connection for each, send all, then read: status, headers and body of each."""
    place = urlparse(server.url)
    pairs = [await asyncio.open_connection(place.hostname, place.port) for _ in requests]
    for (_, writer), message in zip(pairs, requests, strict=True):
        writer.write(message)
    answers = []
    for reader, writer in pairs:
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        answers.append((int(first.split()[1]), headers, body))
        writer.close()
    return answers


def test_what_is_too_much_is_refused_with_a_reason_and_high_priority_last(always: Server) -> None:
    priorities = ["high" if number % 20 == 0 else "normal" for number in range(500)]
    requests = [request(number, priority) for number, priority in enumerate(priorities)]
    before = shed(always)
    # Whoever is let in stays in: the expert does not answer.
    with stopped(always.worker("TextExpert")):
        answers = asyncio.run(all_at_once(always, requests))
    refused = {"high": 0, "normal": 0}
    for number, (priority, (status, headers, body)) in enumerate(zip(priorities, answers, strict=True)):
        assert body["request_id"] == headers["x-request-id"] == f"r{number}"
        if status == 200:
            assert body["label"]
            continue
        assert status == 503
        refused[priority] += 1
        assert headers["retry-after"] == "1"
        assert headers["server-timing"].startswith("wait;dur=")
        assert body["error"]["reason"] == "overloaded"
        assert "come back" in body["error"]["message"]
    assert 0 < refused["normal"] < priorities.count("normal")
    assert refused["high"] / priorities.count("high") < refused["normal"] / priorities.count("normal")
    assert shed(always) - before == refused["normal"]

    with always.client() as client:
        assert in_full(client, "/classify_text", json={"text": "and now", "budget_ms": PATIENT_MS}).status_code == 200


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """A process that does not run during the block."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def shed(server: Server) -> float:
    """Requests of normal priority that were refused so far."""
    reply = httpx.get(f"{server.url}/metrics")
    assert reply.status_code == 200
    return sum(map(float, re.findall(r'^sieve_shed_total{priority="normal",reason="\w+"} (\S+)$', reply.text, re.M)))


@pytest.mark.parametrize(
    ("headers", "field", "says"),
    [
        ({"X-Priority": "urgent"}, "X-Priority", "must be high or normal"),
        ({"X-Budget-Ms": "soon"}, "X-Budget-Ms", "no number"),
        ({"X-Budget-Ms": "-1"}, "X-Budget-Ms", "positive"),
    ],
)
def test_headers_that_make_no_sense_are_refused(
    client: httpx.Client, headers: dict[str, str], field: str, says: str
) -> None:
    reply = client.post("/classify_text", json={"text": "hello"}, headers=headers)
    assert reply.status_code == 422
    assert reply.json()["error"]["field"] == field
    assert says in reply.json()["error"]["message"]


def test_the_smaller_budget_counts(client: httpx.Client) -> None:
    def degraded(body_ms: float | None, header_ms: str | None, post: Callable[..., httpx.Response]) -> set[Any]:
        # Of these, some are sure and some are not.
        sent = [{"text": text, **({"budget_ms": body_ms} if body_ms else {})} for text in TEXTS[:24]]
        headers = {"X-Budget-Ms": header_ms} if header_ms else {}
        return {post(client, "/classify_text", json=each, headers=headers).json()["degraded"] for each in sent}

    assert "deadline" in degraded(1000, "0.01", httpx.Client.post)
    assert "deadline" in degraded(0.01, "1000", httpx.Client.post)
    assert degraded(None, "1000", in_full) == {None}


def test_the_parts_of_the_time_add_up(client: httpx.Client) -> None:
    stages = set()
    for text in TEXTS[:24]:
        reply = in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS})
        parts = dict(reply.json()["timings_ms"])
        total = parts.pop("total")
        assert sum(parts.values()) >= 0.95 * total
        stage = reply.json()["stage"]
        stages.add(stage)
        wanted = ["wait", "admission", "read", "tokenise", "screen"]
        assert list(parts) == [*wanted, *(["queue", "expert", "hop"] if stage == "expert" else []), "encode"]
        header = {
            name: float(ms) for name, ms in (p.split(";dur=") for p in reply.headers["server-timing"].split(", "))
        }
        assert header == {**parts, "total": total}
    assert stages == {"screen", "expert"}
