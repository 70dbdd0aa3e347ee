"""Connections that are kept, given up, or broken; on uvloop, as in service."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uvloop

from loadtest.traffic.process import free_port
from serving.errors import MalformedError, StageDownError
from serving.expert import connection
from serving.expert.client import RemoteExpert
from serving.expert.connection import Connections
from serving.expert.outliers import LEAST, Outliers
from serving.expert_tls import SYSTEM, ExpertTls
from tests.certificates import authority, certificate
from tests.serving.expert.test_client import DIGEST, Name, doubled, served

REQUEST = b"GET / HTTP/1.1\r\nHost: expert\r\n\r\n"
REST_S = 1.5


class Server(asyncio.Protocol):
    """Sends `answer` for whatever it receives, and closes the connection after an empty one."""

    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Name: v\r\n\r\nhi"
    connected = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        type(self).connected += 1

    def data_received(self, data: bytes) -> None:
        if self.answer:
            self.transport.write(self.answer)  # type: ignore[attr-defined]  # uvloop's transports have no common class
        else:
            self.transport.close()


def play(path: Path, answer: bytes, asks: int = 1) -> tuple[list[bytes], int]:
    """The bodies that so many requests got, and how many connections they took."""

    class Here(Server):
        pass

    Here.answer = answer

    async def main() -> list[bytes]:
        server = await asyncio.get_running_loop().create_unix_server(Here, str(path))
        connections, bodies = Connections(f"file://{path}"), []
        for _ in range(asks):
            connection = await connections.take()
            reply = await connection.ask(REQUEST)
            assert (reply.status, reply.headers[b"x-name"]) == (200, b"v")
            bodies.append(reply.body)
            connections.give_back(connection)
        connections.close_idle()
        server.close()
        return bodies

    return uvloop.run(main()), Here.connected


def test_a_connection_is_used_again(tmp_path: Path) -> None:
    assert play(tmp_path / "s", Server.answer, asks=3) == ([b"hi"] * 3, 1)


def test_a_connection_that_the_server_closes_is_not_used_again(tmp_path: Path) -> None:
    closing = Server.answer.replace(b"X-Name", b"Connection: close\r\nX-Name")
    assert play(tmp_path / "s", closing, asks=3) == ([b"hi"] * 3, 3)


def test_a_broken_connection_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError, match="the expert closed the connection"):
        play(tmp_path / "s", b"")


def test_a_reply_that_is_not_http_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MalformedError, match="must be HTTP"):
        play(tmp_path / "s", b"nonsense\r\n\r\n")


def test_a_reply_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "MAX_REPLY_BYTES", 1_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"
    for answer in (head + bytes(1_100_000), b"HTTP/1.1 200 OK\r\nX-Name: " + b"v" * 1_100_000):
        with pytest.raises(MalformedError, match="must have at most 1,000,000 bytes, got more"):
            play(tmp_path / "s", answer)


def test_what_comes_unasked_ends_the_connection(tmp_path: Path) -> None:
    class Talks(Server):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            asyncio.get_running_loop().call_later(0.05, self.data_received, b"")

    async def main() -> None:
        failed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failed.append(context))
        server = await asyncio.get_running_loop().create_unix_server(Talks, str(tmp_path / "s"))
        connections = Connections(f"file://{tmp_path / 's'}")
        untouched, asked = await connections.take(), await connections.take()
        connections.give_back(asked)
        await asked.ask(REQUEST)
        await asyncio.sleep(0.2)
        assert not untouched.reusable
        assert not asked.reusable, "the next request would take it for its reply"
        assert not failed
        server.close()

    uvloop.run(main())


def secured(folder: Path, url: str, host: str, *, names: str, trusted: bool = True) -> list[float]:
    """What an expert over TLS at `host` answers, whose certificate is for `names`, asked at `url` without its port."""
    folder.mkdir()
    cert = certificate(folder, names)
    files = {"ssl_certfile": str(cert.file), "ssl_keyfile": str(cert.key)}

    async def main() -> list[float]:
        port = free_port()
        expert = RemoteExpert(f"{url}:{port}", "an-expert", DIGEST, ExpertTls(ca=str(cert.file)) if trusted else SYSTEM)
        async with served(doubled, host=host, port=port, **files):
            answers = [(await expert([np.array([n])])).logits[0, 0] for n in (1, 2)]
        await expert.close()
        return answers

    return uvloop.run(main())


@pytest.mark.parametrize(
    ("url", "host", "names"),
    [
        ("https://localhost", "127.0.0.1", "DNS:localhost"),
        ("https://[::1]", "::1", "IP:::1"),
        ("https://127.0.0.1", "127.0.0.1", "IP:127.0.0.1"),
    ],
)
def test_an_expert_may_be_asked_over_tls(tmp_path: Path, url: str, host: str, names: str) -> None:
    assert secured(tmp_path / "own", url, host, names=names) == [2.0, 4.0]
    for number, wrong in enumerate(({"names": "DNS:elsewhere"}, {"names": names, "trusted": False})):
        with pytest.raises(StageDownError, match="CERTIFICATE_VERIFY_FAILED"):
            secured(tmp_path / str(number), url, host, **wrong)


@pytest.mark.parametrize("shown", ["ours", "none", "of another"])
def test_an_expert_may_demand_a_certificate(tmp_path: Path, shown: str) -> None:
    """uvicorn does, with `bentoml serve --ssl-ca-certs CA --ssl-cert-reqs 2`."""
    (tmp_path / "other").mkdir()
    ours = authority(tmp_path)
    server = ours.sign("server", "IP:127.0.0.1")
    signer = authority(tmp_path / "other") if shown == "of another" else ours
    client = signer.sign("client", "DNS:api")
    given = {} if shown == "none" else {"cert": str(client.file), "key": str(client.key)}
    files = {"ssl_certfile": str(server.file), "ssl_keyfile": str(server.key), "ssl_ca_certs": str(ours.file)}

    async def main() -> float:
        port = free_port()
        tls = ExpertTls(ca=str(ours.file), **given)
        expert = RemoteExpert(f"https://127.0.0.1:{port}", "an-expert", DIGEST, tls)
        async with served(doubled, port=port, ssl_cert_reqs=ssl.CERT_REQUIRED, **files):
            answer = float((await expert([np.array([1])])).logits[0, 0])
        await expert.close()
        return answer

    if shown == "ours":
        assert uvloop.run(main()) == 2.0
    else:
        with pytest.raises(StageDownError):
            uvloop.run(main())


def test_an_expert_may_have_an_ipv6_address() -> None:
    async def main() -> list[list[float]]:
        port = free_port()
        expert = RemoteExpert(f"http://[::1]:{port}", "an-expert", DIGEST)
        async with served(doubled, host="::1", port=port):
            answer = await expert([np.array([1])])
        await expert.close()
        return answer.logits.tolist()

    assert uvloop.run(main()) == [[2.0]]


def test_of_three_machines_behind_one_name_the_slow_one_rests_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran = dict.fromkeys(("127.0.0.1", "127.0.0.2", "127.0.0.3"), 0)
    slow, said = {"127.0.0.3"}, list[str]()
    monkeypatch.setattr(connection, "Outliers", partial(Outliers, first_rest_s=REST_S))
    monkeypatch.setattr(connection.logger, "warning", lambda text, *values: said.append(text % values))

    def at(address: str) -> Callable[[Sequence[Any]], Any]:
        def run(items: Sequence[Any]) -> Any:
            ran[address] += 1
            if address in slow:
                time.sleep(0.1)
            return doubled(items)

        return run

    async def main() -> None:
        port = free_port()
        name = Name(port, *ran)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", name.getaddrinfo)
        expert = RemoteExpert(f"http://experts:{port}", "an-expert", DIGEST)

        async def calls(count: int) -> int:
            """So many calls, each over a new connection; how many of them the slow machine ran."""
            before = ran["127.0.0.3"]
            for _ in range(count):
                await expert([np.array([1])])
                await expert.close()
            return ran["127.0.0.3"] - before

        async with AsyncExitStack() as stack:
            for address in ran:
                await stack.enter_async_context(served(at(address), host=address, port=port))
            while not said:
                await calls(1)
            assert said[0].startswith("127.0.0.3 fails or is far slower than other machines of experts:")
            assert await calls(20) == 0
            slow.clear()
            await asyncio.sleep(REST_S)
            came = 0
            for _ in range(400):  # a machine is drawn for each
                if (came := came + await calls(1)) > LEAST:
                    break
            assert came > LEAST

    asyncio.run(main())
