"""A server that will be stopped: told by a file, not ready, and every answer the last on its connection."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import httpx
import pytest
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


@pytest.mark.parametrize("left", [False, True], ids=["a new file", "one that an earlier container left"])
def test_a_clock_that_was_set_back_makes_no_difference(tmp_path: Path, left: bool) -> None:
    file = tmp_path / "draining"
    if left:
        file.touch()
    draining = Draining(str(file))
    assert not draining()
    file.touch()
    os.utime(file, (1, 1))  # as if it was made in 1970, long before the process was started
    time.sleep(2 * CHECK_INTERVAL_S)
    assert draining()
