"""The way to the expert's process: messages, and a real server on a unix socket."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from loadtest.traffic.process import free_port
from serving.errors import StageDownError
from serving.expert.client import RemoteExpert
from serving.http.expert_app import METHODS, expert_endpoints, infer_endpoint
from serving.model.golden import GoldenCheck

DIGEST = "1" * 64
SESSION = SimpleNamespace(
    provider_asked="CPUExecutionProvider",
    provider_got="CPUExecutionProvider",
    device="cpu",
    lanes=1,
    runtime="onnxruntime",
    variant="cpu-int8",
)


@asynccontextmanager
async def served(
    run: Callable[[Sequence[Any]], Any], *, digest: str = DIGEST, **where: Any
) -> AsyncIterator[uvicorn.Server]:
    """A real server at `where` (uds, or host and port) that serves the artifact of `digest`."""

    endpoints = expert_endpoints(digest, SESSION, GoldenCheck(against=""), run, SimpleNamespace(), None)
    app = Starlette(routes=[Route(path, endpoints[path], methods=[method]) for path, method in METHODS.items()])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_keep_alive=1, **where))
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
        expert = RemoteExpert(f"file://{path}", "an-expert", DIGEST)
        try:
            async with served(run, uds=str(path)):
                return await scenario(expert)
        finally:
            await expert.close()

    return asyncio.run(main())


def test_items_get_their_logits_and_the_time_they_took(tmp_path: Path) -> None:
    async def scenario(expert: RemoteExpert) -> Any:
        return await asyncio.gather(*(expert([np.array([n]), np.array([n + 1, 5])]) for n in range(50)))

    for number, (logits, took_ms, _) in enumerate(play(tmp_path / "s", scenario)):
        assert logits.tolist() == [[2.0 * number], [2.0 * number + 2]]
        assert took_ms >= 0


def test_a_call_says_how_long_it_waited_for_those_before_it(tmp_path: Path) -> None:
    async def scenario(expert: RemoteExpert) -> Any:
        return await asyncio.gather(*(expert([np.array([n])]) for n in range(3)))

    def slowly(items: Sequence[Any]) -> Any:
        time.sleep(0.1)
        return doubled(items)

    waited = sorted(waited_ms for _, _, waited_ms in play(tmp_path / "s", scenario, slowly))
    assert waited[0] < 90
    assert waited[1] > 50
    assert waited[2] > 150


def test_no_call_is_lost_when_the_server_closed_an_idle_connection(tmp_path: Path) -> None:
    async def scenario(expert: RemoteExpert) -> Any:
        first = await expert([np.array([1])])
        await asyncio.sleep(1.3)  # the server gives up connections after a second
        return first[0], (await expert([np.array([2])]))[0]

    first, second = play(tmp_path / "s", scenario)
    assert (first.tolist(), second.tolist()) == ([[2.0]], [[4.0]])


def test_an_unreachable_or_failing_expert_is_down_and_logged_once(
    tmp_path: Path,
) -> None:
    async def nobody() -> None:
        expert = RemoteExpert(f"file://{tmp_path / 'nobody'}", "an-expert", DIGEST)
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


@pytest.mark.parametrize(
    "logits",
    [
        np.zeros((3, 2), np.float32),
        np.zeros(2, np.float32),
        np.zeros((2, 2, 2), np.float32),
        np.zeros((2, 2), np.int64),
    ],
    ids=lambda logits: f"{logits.dtype}{logits.shape}",
)
def test_a_reply_with_other_arrays_counts_as_none(tmp_path: Path, logits: Any) -> None:
    async def scenario(expert: RemoteExpert) -> None:
        with pytest.raises(StageDownError, match="must hold the logits of 2 items"):
            await expert([np.array([1]), np.array([2])])

    play(tmp_path / "s", scenario, lambda _items: logits)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    async def scenario(_: RemoteExpert) -> int:
        async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(tmp_path / "s"))) as client:
            return (await client.post("http://expert/infer", content=b"\x80\x04K\x01.")).status_code

    assert play(tmp_path / "s", scenario) == 400


def test_the_expert_describes_what_it_runs(tmp_path: Path) -> None:
    async def scenario(expert: RemoteExpert) -> dict[str, str]:
        return await expert.describe()

    said = play(tmp_path / "s", scenario)
    runs = {"asked": "CPUExecutionProvider", "device": "cpu", "got": "CPUExecutionProvider", "runtime": "onnxruntime"}
    assert said == {**runs, "variant": "cpu-int8", "against": ""}


def test_an_expert_with_another_artifact_runs_nothing() -> None:
    ran: list[int] = []

    def run(items: Sequence[Any]) -> Any:
        ran.append(len(items))
        return doubled(items)

    async def main() -> dict[str, str]:
        port = free_port()
        expert = RemoteExpert(f"http://127.0.0.1:{port}", "an-expert", DIGEST)
        async with served(run, digest="2" * 64, host="127.0.0.1", port=port):
            with pytest.raises(StageDownError, match=r"serves artifact 222222222222, .* chosen for 111111111111"):
                await expert([np.array([1])])
            return await expert.describe()

    assert "222222222222" in asyncio.run(main())["error"]
    assert ran == []


def test_an_answer_that_names_no_artifact_is_refused() -> None:
    async def main() -> None:
        port = free_port()
        app = Starlette(routes=[Route("/infer", infer_endpoint(doubled), methods=["POST"])])
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", host="127.0.0.1", port=port))
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        with pytest.raises(StageDownError, match="without a na"):
            await RemoteExpert(f"http://127.0.0.1:{port}", "an-expert", DIGEST)([np.array([1])])
        server.should_exit = True
        await task

    asyncio.run(main())


class Name:
    """A name whose addresses change, as a headless Service's do; it stands in for the resolver alone."""

    def __init__(self, port: int, *addresses: str) -> None:
        self.port, self.addresses, self.asked = port, list(addresses), 0

    async def getaddrinfo(self, _host: str, _port: int, **_: Any) -> list[Any]:
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, self.port)) for address in self.addresses]


def test_machines_behind_one_name_share_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = {"127.0.0.1": 0, "127.0.0.2": 0}

    def at(address: str) -> Callable[[Sequence[Any]], Any]:
        def run(items: Sequence[Any]) -> Any:
            ran[address] += 1
            return doubled(items)

        return run

    async def main() -> None:
        port = free_port()
        name = Name(port, *ran)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", name.getaddrinfo)
        expert = RemoteExpert(f"http://experts:{port}", "an-expert", DIGEST)
        one = np.array([1])
        async with served(at("127.0.0.2"), host="127.0.0.2", port=port):
            async with served(at("127.0.0.1"), host="127.0.0.1", port=port):
                for _ in range(40):  # each over a new connection
                    await expert([one])
                    await expert.close()
                assert min(ran.values()) >= 5, "both got their share"
            for _ in range(20):  # one of the two is gone, the name still has it
                await expert([one])
                await expert.close()
        name.addresses = ["127.0.0.1"]
        async with served(at("127.0.0.1"), host="127.0.0.1", port=port):
            before = ran["127.0.0.1"]
            await expert([one])  # the name was looked up anew
            assert ran["127.0.0.1"] == before + 1
            asked = name.asked
            await expert([one])
            assert name.asked == asked, "and not where a connection is there"
        await expert.close()

    asyncio.run(main())


def test_during_an_update_only_the_right_artifact_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> list[str]:
        port = free_port()
        name = Name(port, "127.0.0.1", "127.0.0.2")
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", name.getaddrinfo)
        expert = RemoteExpert(f"http://experts:{port}", "an-expert", DIGEST)
        seen = []
        async with (
            served(doubled, host="127.0.0.1", port=port),
            served(lambda items: 100 * doubled(items), digest="2" * 64, host="127.0.0.2", port=port),
        ):
            for _ in range(60):
                try:
                    seen.append(str((await expert([np.array([1])])).logits.tolist()))
                except StageDownError:
                    seen.append("down")
                await expert.close()
        return seen

    seen = asyncio.run(main())
    assert set(seen) <= {"[[2.0]]", "down"}, "a wrong pair degrades, and never answers"
    assert seen.count("[[2.0]]") > seen.count("down")
