"""The way to the expert's process: messages, and a real server on a unix socket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.errors import MalformedError, StageDownError
from serving.expert_app import expert_app, infer_endpoint
from serving.remote import RemoteExpert
from serving.wire import pack, unpack


@given(st.lists(arrays(np.int64, st.integers(0, 9)), min_size=1, max_size=8))
def test_what_is_packed_comes_back(items: list[Any]) -> None:
    got = unpack(pack(items))
    assert all(np.array_equal(one, other) for one, other in zip(items, got, strict=True))
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    (same,) = unpack(pack([image]))
    assert np.array_equal(same, image)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b"nonsense\nx",
        pack([np.arange(3)])[:-1],
        b'{"type":"object","shapes":[[1]]}\n12345678',
        b"\x80\x04K\x01.",
    ],
)
def test_what_is_no_message_is_refused(message: bytes) -> None:
    with pytest.raises(MalformedError, match="body: must be a message"):
        unpack(message)


@asynccontextmanager
async def served(path: Path, run: Callable[[Sequence[Any]], Any]) -> AsyncIterator[uvicorn.Server]:
    server = uvicorn.Server(
        uvicorn.Config(expert_app(infer_endpoint(run)), uds=str(path), log_level="critical", timeout_keep_alive=1)
    )
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server
    server.should_exit = True
    await task


def doubled(items: Sequence[Any]) -> Any:
    return np.array([[2.0 * item[0]] for item in items], dtype=np.float32)


def play(path: Path, scenario: Callable[[RemoteExpert], Awaitable[Any]], run: Any = doubled) -> Any:
    async def main() -> Any:
        expert = RemoteExpert(f"file://{path}", "an-expert")
        try:
            async with served(path, run):
                return await scenario(expert)
        finally:
            await expert.close()

    return asyncio.run(main())


def test_items_get_their_logits_and_the_time_they_took(tmp_path: Path) -> None:
    async def scenario(expert: RemoteExpert) -> Any:
        return await asyncio.gather(*(expert([np.array([n]), np.array([n + 1, 5])]) for n in range(50)))

    for number, (logits, took_ms) in enumerate(play(tmp_path / "s", scenario)):
        assert logits.tolist() == [[2.0 * number], [2.0 * number + 2]]
        assert took_ms >= 0


def test_a_connection_that_the_server_closed_meanwhile_loses_nothing(tmp_path: Path) -> None:
    async def scenario(expert: RemoteExpert) -> Any:
        first = await expert([np.array([1])])
        await asyncio.sleep(1.3)  # the server gives up connections after a second
        return first[0], (await expert([np.array([2])]))[0]

    first, second = play(tmp_path / "s", scenario)
    assert (first.tolist(), second.tolist()) == ([[2.0]], [[4.0]])


def test_an_expert_that_is_not_there_or_fails_is_down_and_said_so_once(
    tmp_path: Path,
) -> None:
    async def nobody() -> None:
        expert = RemoteExpert(f"file://{tmp_path / 'nobody'}", "an-expert")
        for _ in range(3):
            with pytest.raises(StageDownError):
                await expert([np.array([1])])
        await expert.close()

    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("sieve").addHandler(handler)
    try:
        asyncio.run(nobody())
    finally:
        logging.getLogger("sieve").removeHandler(handler)
    assert len(said) == 1
    assert "an-expert does not answer" in said[0]

    def broken(_: Sequence[Any]) -> Any:
        raise RuntimeError("out of memory")

    async def scenario(expert: RemoteExpert) -> None:
        with pytest.raises(StageDownError, match="status 500"):
            await expert([np.array([1])])

    play(tmp_path / "s", scenario, broken)


def test_pickle_is_not_taken(tmp_path: Path) -> None:
    async def scenario(_: RemoteExpert) -> int:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(tmp_path / "s"))) as client:
            return (await client.post("http://expert/infer", content=b"\x80\x04K\x01.")).status_code

    assert play(tmp_path / "s", scenario) == 400
