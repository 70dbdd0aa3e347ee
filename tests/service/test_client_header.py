"""SIEVE_CLIENT_HEADER: clients behind one proxy, told apart by the header that it sets, take turns at heavy work."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, Server, serve
from tests.service.test_degraded import TEXT_ONLY, with_point

MANY = 24


def order(server: Server, last: str) -> list[str]:
    """Who was answered, in order, where one client sends much and then `last` sends one request."""
    answered: list[str] = []
    # A list this long is heavy, and waits for its client's turn.
    sent = {"texts": ["where is my refund"] * 24, "budget_ms": PATIENT_MS}

    async def ask(client: httpx.AsyncClient, name: str, number: int) -> None:
        headers = {"X-Client": name, "X-Request-Id": f"{name}-{number}"}
        if (await client.post("/classify_texts", json=sent, headers=headers)).status_code == 200:
            answered.append(f"{name}-{number}")

    async def main() -> None:
        async with server.async_client(MANY + 1) as client:
            busy = [asyncio.create_task(ask(client, "busy", number)) for number in range(MANY)]
            while not answered:
                await asyncio.sleep(0.001)
            await asyncio.gather(*busy, ask(client, last, MANY))

    asyncio.run(main())
    return answered


def test_a_client_with_a_name_of_its_own_does_not_wait_for_all_others(
    tiny_cascades: TinyCascades, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = with_point(tiny_cascades, tmp_path / "home", threshold=0.0)
    monkeypatch.setenv("SIEVE_CLIENT_HEADER", "X-Client")
    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as server:
        order(server, "busy")  # so that connections and the times of such work are known
        same, other = order(server, "busy"), order(server, "other")
    assert same.index(f"busy-{MANY}") >= len(same) - 4, "first come, first served"
    assert other.index(f"other-{MANY}") < len(other) - 4, "before some that came before it"
