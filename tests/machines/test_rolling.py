"""A rolling update under load, as Kubernetes makes one: start the new, wait for it, then hook and stop the old."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from loadtest.traffic.process import free_port
from serving.model.artifact import MANIFEST, write_json
from tests.machines.conftest import started
from tests.machines.load import Load
from tests.server import LIMIT_S, Server

pytestmark = pytest.mark.machines
PRE_STOP_S = 3.0


class Endpoints:
    """A Service: each new connection goes to one of those that were ready when they were looked at last."""

    def __init__(self) -> None:
        self.port = free_port()
        self.members: list[str] = []
        self.ready: list[str] = []
        self._turn = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._connected, "127.0.0.1", self.port):
            probing = asyncio.create_task(self._probe())
            try:
                yield
            finally:
                probing.cancel()

    async def all_ready(self, *members: str) -> None:
        async with asyncio.timeout(LIMIT_S):
            while set(self.ready) != set(members):
                await asyncio.sleep(0.05)

    async def _probe(self) -> None:
        async with httpx.AsyncClient(timeout=2) as client:
            while True:
                self.ready = [url for url in self.members if await self._is_ready(client, url)]
                await asyncio.sleep(0.2)

    async def _is_ready(self, client: httpx.AsyncClient, url: str) -> bool:
        try:
            return (await client.get(f"{url}/readyz")).status_code == 200
        except httpx.HTTPError:
            return False

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._turn += 1
        place = httpx.URL(self.ready[self._turn % len(self.ready)])
        their_reader, their_writer = await asyncio.open_connection(place.host, place.port)
        with suppress(asyncio.CancelledError):  # the end of the test
            await asyncio.gather(_pass(reader, their_writer), _pass(their_reader, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def retire(old: Server, endpoints: Endpoints) -> None:
    """The preStop hook of deploy/kubernetes, then the stop."""
    (old.log.parent / "draining").touch()
    async with asyncio.timeout(LIMIT_S):
        while old.url in endpoints.ready:
            await asyncio.sleep(0.05)
    await asyncio.sleep(PRE_STOP_S)
    old.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(old.process.wait, LIMIT_S)
    endpoints.members.remove(old.url)


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_neither_an_api_nor_an_expert_that_is_replaced_loses_a_request(
    bento: Path, tmp_path: Path, running: ExitStack
) -> None:
    front, back = Endpoints(), Endpoints()

    async def start(name: str, service: str = "", **variables: str) -> Server:
        made = started(bento, tmp_path / name, service=service, port=free_port(), **variables)
        return await asyncio.to_thread(running.enter_context, made)

    async def scenario() -> Load:
        load = Load(front.url)
        async with front.open(), back.open():
            expert = await start("expert-1", "TextExpert")
            back.members.append(expert.url)
            await back.all_ready(expert.url)
            urls = {"SIEVE_TEXT_EXPERT_URL": back.url}
            api = await start("api-1", **urls)
            front.members.append(api.url)
            await front.all_ready(api.url)
            async with load.running(text_clients=8):
                await load.until("text", None, 100)

                new_expert = await start("expert-2", "TextExpert")
                back.members.append(new_expert.url)
                await back.all_ready(expert.url, new_expert.url)
                await retire(expert, back)
                load.phase()
                await load.until("text", None, 100)
                assert "down" not in {what[-1] for what in load.all}, "no escalation was lost either"

                new_api = await start("api-2", **urls)
                front.members.append(new_api.url)
                await front.all_ready(api.url, new_api.url)
                await retire(api, front)
                load.phase()
                await load.until("text", None, 100)
        return load

    load = asyncio.run(scenario())
    print(dict(load.all))
    assert not load.failures()


def test_an_expert_of_another_run_is_not_asked_and_degrades(bento: Path, tmp_path: Path, running: ExitStack) -> None:
    other = tmp_path / "other"
    shutil.copytree(bento, other, symlinks=True)
    for path in (other / "models" / "tiny-text-expert").glob(f"*/{MANIFEST}"):
        manifest = json.loads(path.read_text())
        manifest["labels"] = manifest["labels"][::-1]  # the same graph, and every answer another
        write_json(path, manifest)
    back = Endpoints()

    async def scenario() -> Load:
        async with back.open():
            right, wrong = free_port(), free_port()
            first = running.enter_context(started(bento, tmp_path / "right", service="TextExpert", port=right))
            back.members.append(first.url)
            await back.all_ready(first.url)
            api = await asyncio.to_thread(
                running.enter_context,
                started(bento, tmp_path / "api", port=free_port(), SIEVE_TEXT_EXPERT_URL=back.url),
            )
            load = Load(api.url)
            async with load.running(text_clients=2):
                await load.until("text", None, 50)
                second = await asyncio.to_thread(
                    running.enter_context,
                    started(other, tmp_path / "wrong", service="TextExpert", port=wrong),
                )
                back.members.append(second.url)
                await back.all_ready(first.url, second.url)
                await retire(first, back)
                load.phase()
                await load.until("text", "down", 50)
                assert (200, "expert", None) not in load.seen("text")
            assert "serves artifact" in api.log.read_text()
            return load

    assert not asyncio.run(scenario()).failures()
