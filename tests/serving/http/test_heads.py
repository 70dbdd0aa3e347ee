"""A real server on a real socket: heads without an end, heads that are late, trailers, and refusals in their turn."""

from __future__ import annotations

import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.http import heads
from serving.http.heads import MAX_HEAD_BYTES, MAX_HEADERS
from tests.hostile.raw import Answer, sent_patiently
from tests.serving.http.test_http_one import echo
from tests.serving.http.test_protocol import installed as installed
from tests.serving.http.test_protocol import run, served

GOOD = b"POST /good HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\none"
GOOD_BODY = b"POST /good one"
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


async def headers_of(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the names of the headers, once the body was read."""
    await Request(scope, receive).body()
    await JSONResponse([name.decode() for name, _ in scope["headers"]])(scope, receive, send)


async def slow(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as `echo` does, later."""
    await asyncio.sleep(0.1)
    await echo(scope, receive, send)


def answers(*pieces: bytes, app: ASGIApp = echo, pause_s: float = 0.0, keep_alive_s: float = 5) -> list[Answer]:
    """All answers to bytes that are sent over one connection in pieces, until the server closes it."""
    got: list[Answer] = []

    async def scenario() -> None:
        async with served(keep_alive_s, app) as port:
            got.extend(await sent_patiently(("127.0.0.1", port), *pieces, patience_s=30, pause_s=pause_s))

    run(scenario)
    return got


def head(count: int = 0, filler: int = 0) -> bytes:
    lines = [b"GET /a HTTP/1.1", *(b"X-%d: 1" % place for place in range(count)), b"X-Filler: " + b"x" * filler]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""])


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(MAX_HEADERS - 2), 200),
        (head(MAX_HEADERS - 1), 431),
        (head(filler=MAX_HEAD_BYTES - 60), 200),
        (head(filler=MAX_HEAD_BYTES), 431),
        (b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", 431),
    ],
    ids=["many", "too many", "large", "too large", "address"],
)
@pytest.mark.parametrize("piece", [1_000_000, 9_000], ids=["at once", "in pieces"])
def test_a_head_is_bounded_in_lines_and_bytes(sent: bytes, status: int, piece: int) -> None:
    pieces = [sent[begin : begin + piece] for begin in range(0, len(sent), piece)]
    (answer,) = answers(*pieces, pause_s=0.001)
    assert answer.status == status
    assert status == 200 or "must have at most 100 headers and 65,536 bytes" in answer.message


@pytest.mark.parametrize(
    "begin",
    [b"GET /a HTTP/1.1\r\nX: ", b"GET /", CHUNKED + b"1\r\nx\r\n0\r\nX: ", CHUNKED + b"1;", b"\r\n"],
    ids=["header", "address", "trailer", "chunk extension", "nothing"],
)
def test_what_has_no_end_is_given_up(begin: bytes) -> None:
    filler = b"\r\n" * 5_000 if begin == b"\r\n" else b"x" * 10_000
    (answer,) = answers(begin, *[filler] * 20, pause_s=0.001)
    assert answer.status == 431


def test_a_head_must_arrive_in_time_however_often_a_byte_of_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_LIMIT_S", 0.3)
    (answer,) = answers(b"GET /a HTTP/1.1\r\n", *[b"X", b":", b" ", b"\r\n"] * 3, pause_s=0.1)
    assert answer.status == 408
    assert "the head of a request must arrive within" in answer.message
    assert answers(GOOD[:20], GOOD[20:], GOOD[:20], pause_s=0.1)[0].body == GOOD_BODY


@pytest.mark.parametrize("pieces", [(), (b"\r\n", b"\r\n")], ids=["nothing", "line ends"])
def test_a_connection_on_which_nothing_is_asked_is_idle(pieces: tuple[bytes, ...]) -> None:
    assert answers(*pieces, pause_s=0.1, keep_alive_s=0.3) == []
    (answer,) = answers(GOOD, *pieces, pause_s=0.1, keep_alive_s=0.3)
    assert answer.body == GOOD_BODY


@pytest.mark.parametrize("piece", [1_000, 7], ids=["at once", "in pieces"])
def test_trailers_are_no_headers(piece: int) -> None:
    sent = CHUNKED + b"3\r\none\r\n0\r\nX-Priority: high\r\nX-Other: 1\r\n\r\n" + head()
    pieces = [sent[begin : begin + piece] for begin in range(0, len(sent), piece)]
    first, second = answers(*pieces, app=headers_of, pause_s=0.001)
    assert first.json() == ["host", "transfer-encoding"]
    assert second.json() == ["x-filler", "connection"]


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense\r\n\r\n",
        head(MAX_HEADERS),
        b"POST /a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        CHUNKED + b"nonsense\r\n",
    ],
    ids=["nonsense", "too many", "two lengths", "chunk"],
)
@pytest.mark.parametrize("app", [echo, slow], ids=["fast", "slow"])
def test_what_is_refused_is_answered_after_what_came_before_it(bad: bytes, app: ASGIApp) -> None:
    *before, last = answers(GOOD * 3 + bad, app=app)
    assert [answer.body for answer in before] == [GOOD_BODY] * 3
    assert last.status in (400, 431)
    assert answers(GOOD, bad + GOOD, app=app, pause_s=0.05)[0].body == GOOD_BODY


def test_a_body_that_cannot_be_read_is_refused_at_once() -> None:
    (answer,) = answers(CHUNKED + b"3\r\none\r\nnonsense\r\n")
    assert answer.status == 400
    (answer,) = answers(CHUNKED + b"3\r\none\r\n", b"nonsense\r\n", pause_s=0.05)
    assert answer.status == 400


def test_connections_leave_no_timers_behind() -> None:
    async def scenario() -> None:
        async with served() as port:
            loop = asyncio.get_running_loop()
            for sent in (b"", b"GET", GOOD, GOOD + b"GET"):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                await asyncio.sleep(0.05)
                writer.transport.abort()
            await asyncio.sleep(0.1)
            waiting = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
            names = {getattr(timer._callback, "__qualname__", "") for timer in waiting}
            assert not {name for name in names if "keep_alive" in name or "head" in name}, names

    run(scenario)
