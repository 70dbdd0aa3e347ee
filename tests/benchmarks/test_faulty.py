"""What comes through a faulty way, fault by fault, and that it is whole again afterwards."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from benchmarks.faulty import BYTE_S, NOISE, PAGE, SLOWER, Fault, Way
from tests.loadtest.little_server import little_server

ANSWERED_S = 0.05


@pytest.fixture
def way() -> Iterator[Way]:
    """A way to a server that answers with `hello` after ANSWERED_S seconds."""

    def respond(_body: bytes) -> tuple[int, bytes]:
        time.sleep(ANSWERED_S)
        return 200, b"hello"

    with little_server(respond) as url, Way(urlsplit(url).port or 0) as made:
        yield made


def asked(way: Way) -> str:
    """What a client gets: the body, or the kind of its error."""
    try:
        return httpx.post(way.url, content=b"x", timeout=10).text
    except httpx.HTTPError as error:
        return type(error).__name__


@pytest.mark.parametrize(
    ("fault", "got", "least_s"),
    [
        ("none", "hello", 0.0),
        ("slow", "hello", SLOWER * ANSWERED_S),
        ("byte by byte", "hello", 50 * BYTE_S),
        ("refused", "ConnectError", 0.0),
    ],
)
def test_a_fault_lasts_until_it_is_taken_back(way: Way, fault: Fault, got: str, least_s: float) -> None:
    way.does(fault)
    begin_s = time.monotonic()
    assert asked(way) == got
    assert time.monotonic() - begin_s >= least_s
    assert asked(way) == got
    way.does("none")
    assert asked(way) == "hello"


def test_garbage_is_in_turn_of_three_kinds(way: Way) -> None:
    way.does("garbage")
    for begins in (NOISE, b"HTTP/1.1 200 ", PAGE):
        with socket.create_connection((way.host, way.port), 10) as connection:
            connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
            got = connection.recv(10_000)
        assert got.startswith(begins)
        assert b"hello" not in got


def test_connections_that_are_open_break(way: Way) -> None:
    with socket.create_connection((way.host, way.port), 10) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n")
        time.sleep(0.1)
        way.does("refused")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(1) == b"", "it ends"
