"""A server that will be stopped: told by a file, not ready, and every answer the last on its connection."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse

from serving.arguments import Arguments, with_variables
from serving.errors import SettingsError
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


def test_an_argument_counts_before_a_variable() -> None:
    variables = {"SIEVE_TEXT_EXPERT_URL": "http://text-expert:3000", "SIEVE_IMAGE_EXPERT_URL": ""}
    assert with_variables(Arguments(), variables).text_expert_url == "http://text-expert:3000"
    given = with_variables(Arguments(text_expert_url="http://10.0.0.1"), variables)
    assert (given.text_expert_url, given.any_remote) == ("http://10.0.0.1", True)
    assert not with_variables(Arguments(text=""), variables).any_remote, "none is served, so none is asked"
    with pytest.raises(SettingsError, match="SIEVE_IMAGE_EXPERT_URL: must be http://HOST"):
        with_variables(Arguments(), {"SIEVE_IMAGE_EXPERT_URL": "https://expert"})


def test_what_is_no_address_is_refused() -> None:
    for url in ("http://h:1/path", "ftp://h", "http://user@h", "h:3000"):
        with pytest.raises(ValueError, match="text_expert_url"):
            Arguments(text_expert_url=url)
