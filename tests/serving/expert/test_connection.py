"""Connections that are kept, given up, or broken; on uvloop, as in service."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import numpy as np
import pytest
import uvloop

from loadtest.traffic.process import free_port
from serving.errors import MalformedError, StageDownError
from serving.expert.client import RemoteExpert
from serving.expert.connection import Connections
from serving.expert_tls import SYSTEM, ExpertTls
from tests.certificates import authority, certificate
from tests.serving.expert.test_client import DIGEST, doubled, served

REQUEST = b"GET / HTTP/1.1\r\nHost: expert\r\n\r\n"


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
