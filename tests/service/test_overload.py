"""A process that does not run for a while: requests that piled up are not answered as if they had just come."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import time
from urllib.parse import urlparse

import pytest

from tests.server import LIMIT_S, PATIENT_MS, Server, in_full

PILED_UP, HELD_S, BUDGET_MS = 60, 0.3, 50


async def while_stopped(server: Server, process: int) -> list[tuple[int, dict[str, object], dict[str, str]]]:
    """Requests that are sent while a process is stopped: status, body and Server-Timing of each response."""
    place = urlparse(server.url)
    body = json.dumps({"text": "where is my refund", "budget_ms": BUDGET_MS}).encode()
    head = f"POST /classify_text HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    pairs = [await asyncio.open_connection(place.hostname, place.port) for _ in range(PILED_UP)]
    os.kill(process, signal.SIGSTOP)
    try:
        for _, writer in pairs:
            writer.write(head + body)
        await asyncio.sleep(HELD_S)
    finally:
        os.kill(process, signal.SIGCONT)
    return [await asyncio.wait_for(_response(*pair), 60) for pair in pairs]


async def _response(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, dict[str, object], dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    body = json.loads(await reader.readexactly(int(headers["content-length"])))
    writer.close()
    return int(first.split()[1]), body, dict(part.split(";dur=") for part in headers["server-timing"].split(", "))


@pytest.mark.parametrize("turn", range(2))
def test_what_piled_up_is_refused_or_answered_as_late(server: Server, turn: int) -> None:
    with server.client() as client:
        in_full(client, "/classify_text", json={"text": "warm", "budget_ms": PATIENT_MS})
    replies = asyncio.run(while_stopped(server, server.worker("sieve")))
    assert {status for status, _, _ in replies} <= {200, 503}
    assert any(status == 503 for status, _, _ in replies)
    # The kernel counts in steps of up to 10 ms.
    least_ms = 1e3 * HELD_S - 25
    for _, _, took in replies:
        assert float(took["wait"]) >= least_ms
        assert float(took["total"]) > BUDGET_MS
    with server.client() as client:
        fresh = in_full(client, "/classify_text", json={"text": "and now", "budget_ms": PATIENT_MS})
        assert fresh.json()["timings_ms"]["wait"] < least_ms
        end_s = time.monotonic() + LIMIT_S
        while not held(lags(client.get("/metrics").text, "api")):
            assert time.monotonic() < end_s, "the watchdog saw nothing"
            time.sleep(0.2)
        while lags(client.get("/metrics").text, "text-expert")["+Inf"] == 0:  # another process flushes now and then
            assert time.monotonic() < end_s
            time.sleep(0.2)


def held(api: dict[str, float]) -> bool:
    """Whether the event loop was once held for about as long as the process was stopped."""
    return api["1.0"] - api["0.25"] >= 1


def lags(metrics: str, process: str) -> dict[str, float]:
    """Samples of the event loop of a process up to each bound."""
    name = f'^sieve_event_loop_lag_seconds_bucket{{le="(.+)",process="{process}"}} (.+)$'
    return {bound: float(count) for bound, count in re.findall(name, metrics, re.MULTILINE)}
