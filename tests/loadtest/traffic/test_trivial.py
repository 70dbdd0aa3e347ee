"""The server that does no work answers all that it gets, however the bytes arrive."""

from __future__ import annotations

import asyncio

from loadtest.traffic.reply import read_answer
from loadtest.traffic.trivial import BODY, REPLY, Trivial

REQUEST = b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"


class Kept(asyncio.Transport):
    """Keeps what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data


def replies_to(*pieces: bytes) -> int:
    transport, server = Kept(), Trivial()
    server.connection_made(transport)
    for piece in pieces:
        server.data_received(piece)
    assert transport.written == REPLY * transport.written.count(REPLY)
    return transport.written.count(REPLY)


def test_requests_are_told_apart_by_their_length() -> None:
    assert replies_to(REQUEST) == 1
    assert replies_to(REQUEST * 3) == 3
    assert replies_to(REQUEST + REQUEST[:-1]) == 1, "the second one is not whole yet"
    assert replies_to(*(bytes([byte]) for byte in REQUEST)) == 1
    assert replies_to(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") == 1


def test_its_answer_is_one_of_a_screen() -> None:
    assert read_answer(BODY) == {"label": "ham", "stage": "screen", "degraded": None}
