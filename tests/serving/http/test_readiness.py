"""A process is ready once it has got ready, until it drains; if it cannot get ready, it ends."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx
import pytest

from serving.http.draining import Draining
from serving.http.fast_path import FastPath
from serving.http.readiness import STARTUP_FAILURE, Readiness, probes
from tests.serving.asgi import get, routed

NEVER = Draining(None)


def asked(readiness: Readiness, path: str = "/readyz") -> httpx.Response:
    return get(FastPath(routed({}, {}), {}, probes(readiness)), path)


def test_a_process_without_preparation_is_ready_at_once() -> None:
    reply = asked(Readiness(NEVER))
    assert (reply.status_code, reply.text) == (200, "\n")


def test_an_expert_that_is_ready_says_what_it_runs_and_where() -> None:
    readiness = Readiness(NEVER)
    readiness.serves = "gpu-fp16 on gpu:1"
    assert asked(readiness).text == "gpu-fp16 on gpu:1\n"


def test_a_process_is_ready_when_its_preparation_ends() -> None:
    async def main() -> None:
        ready, go_on = Readiness(NEVER), asyncio.Event()

        async def preparation() -> None:
            await go_on.wait()

        ready.begin(preparation())
        assert ready.reason_against().startswith("starting")
        await asyncio.sleep(0)
        assert ready.reason_against()
        go_on.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert not ready.reason_against()

    asyncio.run(main())


def test_a_draining_process_is_alive_and_not_ready(tmp_path: Path) -> None:
    ready = Readiness(Draining(str(tmp_path / "draining")))
    (tmp_path / "draining").touch()
    reply = asked(ready)
    assert reply.status_code == 503
    assert reply.text.startswith("draining")
    assert asked(ready, "/livez").status_code == 200


def test_a_preparation_that_fails_is_logged_and_ends_the_process(logged: list[logging.LogRecord]) -> None:
    async def preparation() -> None:
        raise ValueError("no such length")

    async def main() -> None:
        Readiness(NEVER).begin(preparation())
        await asyncio.sleep(60)

    with pytest.raises(SystemExit) as ended:
        asyncio.run(main())
    assert ended.value.code == STARTUP_FAILURE
    (record,) = logged
    assert record.exc_info is not None
    assert "no such length" in str(record.exc_info[1])


def test_a_server_that_stops_while_it_gets_ready_has_not_failed(logged: list[logging.LogRecord]) -> None:
    async def preparation() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        Readiness(NEVER).begin(preparation())
        await asyncio.sleep(0)

    asyncio.run(main())
    assert not logged
