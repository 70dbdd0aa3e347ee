"""A server that will be stopped: told by a file, not ready, and every answer the last on its connection."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
from starlette.responses import PlainTextResponse

from serving.http.draining import CHECK_INTERVAL_S, Draining, LastAnswers


def test_every_answer_is_the_last_once_the_file_is_there(tmp_path: Path) -> None:
    draining = Draining(str(tmp_path / "draining"))

    async def connection() -> str | None:
        transport = httpx.ASGITransport(LastAnswers(PlainTextResponse("hello"), draining))
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.get("/")).headers.get("connection")

    async def main() -> None:
        assert await connection() is None
        (tmp_path / "draining").touch()
        await asyncio.sleep(2 * CHECK_INTERVAL_S)
        assert draining()
        assert await connection() == "close"

    asyncio.run(main())


def test_a_file_that_an_earlier_container_left_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "draining").touch()
    os.utime(tmp_path / "draining", (1, 1))
    assert not Draining(str(tmp_path / "draining"))()
    assert not Draining(None)()
