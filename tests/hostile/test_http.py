"""HTTP that a proxy or an attacker sends: two lengths, line ends that are none, pipelines, sockets half closed."""

from __future__ import annotations

import gzip
import json
import socket

import httpx
import pytest

from tests.hostile.raw import CLOSE, LIMIT_S, answers_in, place_of, post, sent
from tests.server import PATIENT_MS, Server

BODY = json.dumps({"text": "where is my refund", "budget_ms": PATIENT_MS}).encode()
SMUGGLED = b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n"
LINE = b"POST /classify_text HTTP/1.1\r\nHost: x\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
ANSWERED = {200, 503}


@pytest.mark.parametrize(
    "framing",
    [
        LENGTH + b"Content-Length: 0\r\n",
        LENGTH * 2,
        b"Content-Length: 0, %d\r\n" % len(BODY),
        LENGTH + CHUNKED,
        CHUNKED + LENGTH,
        LENGTH.replace(b":", b" :"),
        b"Content-Length: +%d\r\n" % len(BODY),
        b"Content-Length: 0x40\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length:\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n",
        CHUNKED + b"Transfer-Encoding: identity\r\n",
        LENGTH + b"X: 1\r\n Transfer-Encoding: chunked\r\n",
        LENGTH + b"X: 1\nTransfer-Encoding: chunked\r\n",
        LENGTH + b"X: 1\rTransfer-Encoding: chunked\r\n",
        LENGTH + b"X: a\0b\r\n",
        LENGTH + b"no colon\r\n",
        LENGTH + b": no name\r\n",
    ],
    ids=repr,
)
def test_a_request_of_which_two_readers_may_find_two_ends_is_refused(server: Server, framing: bytes) -> None:
    """A proxy may find another end than the server, which then takes the rest for another client's request."""
    (answer,) = sent(server.url, LINE + framing + b"\r\n" + BODY + SMUGGLED)
    assert answer.status == 400
    assert "must be HTTP/1.1" in answer.message


@pytest.mark.parametrize(
    "chunks",
    [
        b"%x\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"%x\r\n%b0\r\n\r\n" % (len(BODY), BODY),
        b"%x\r\n%b\n0\r\n\r\n" % (len(BODY), BODY),
        b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"-1\r\n%b\r\n0\r\n\r\n" % BODY,
        b"fffffffffffffffff\r\n%b\r\n0\r\n\r\n" % BODY,
        b" %x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
        b"%x ;\n\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    ],
    ids=repr,
)
def test_chunks_of_which_two_readers_may_find_two_ends_are_refused(server: Server, chunks: bytes) -> None:
    (answer,) = sent(server.url, LINE + CHUNKED + b"\r\n" + chunks + SMUGGLED)
    assert answer.status == 400


def test_one_length_and_chunks_are_read(server: Server) -> None:
    for framed in (LENGTH + b"\r\n" + BODY, CHUNKED + b"\r\n%x\r\n%b\r\n0\r\nX: trailer\r\n\r\n" % (len(BODY), BODY)):
        (answer,) = sent(server.url, LINE + CLOSE + framed)
        assert answer.status in ANSWERED


def test_a_priority_may_not_come_in_a_trailer(server: Server) -> None:
    chunks = b"%x\r\n%b\r\n0\r\nX-Priority: none of them\r\n\r\n" % (len(BODY), BODY)
    (answer,) = sent(server.url, LINE + CLOSE + CHUNKED + b"\r\n" + chunks)
    assert answer.status in ANSWERED, "the same in a header is 422"


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    """The last of them is no HTTP."""
    ids = [b"X-Request-Id: %d\r\n" % number for number in range(60)]
    many = [(LINE + each + LENGTH + b"\r\n" + BODY) if place % 3 else SMUGGLED for place, each in enumerate(ids)]
    *answers, last = sent(server.url, b"".join(many) + b"nonsense\r\n\r\n")
    assert len(answers) == 60
    assert [answer.headers["x-request-id"] for place, answer in enumerate(answers) if place % 3] == [
        str(place) for place in range(60) if place % 3
    ]
    assert {answer.status for answer in answers} <= ANSWERED
    assert last.status == 400


def test_a_client_that_has_closed_its_half_is_gone(server: Server, client: httpx.Client) -> None:
    """That is how clients hang up: the server cannot tell whether this one still reads."""
    for data in (b"", LINE, LINE + LENGTH + b"\r\n" + BODY[:5], LINE + LENGTH + b"\r\n" + BODY, b"\r\n"):
        assert len(sent(server.url, data, half_closed=True)) <= 1, "closed, and not waited for"
    assert client.get("/livez").status_code == 200


def test_a_connection_that_is_reset_harms_nobody(server: Server, client: httpx.Client) -> None:
    for _ in range(50):
        connection = socket.create_connection(place_of(server.url), timeout=LIMIT_S)
        connection.sendall(LINE + LENGTH + b"\r\n" + BODY)
        # With no time to linger, closing resets.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    assert client.get("/livez").status_code == 200


@pytest.mark.parametrize("path", ["/classify_text", "/classify_image", "/v2/models/text/infer"])
def test_a_gigabyte_that_is_stated_is_refused_before_any_of_it_comes(server: Server, path: str) -> None:
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nExpect: 100-continue\r\n" % path.encode()
    with socket.create_connection(place_of(server.url), timeout=LIMIT_S) as connection:
        connection.sendall(head + b"Content-Length: 1000000000\r\n\r\n")
        got = b""
        while not got.endswith(b"}"):
            got += connection.recv(65_536)
    assert got.startswith(b"HTTP/1.1 413 ")
    assert b"100 Continue" not in got
    (answer,) = answers_in(got)
    assert "must have at most" in answer.message


@pytest.mark.parametrize(
    "path", ["/classify_text", "/classify_texts", "/classify_image", "/classify_images", "/v2/models/text/infer"]
)
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip"])
def test_a_compressed_body_is_refused_unpacked_by_nobody(server: Server, path: str, encoding: str) -> None:
    bomb = gzip.compress(bytes(5_000_000), mtime=0)
    headers = {"Content-Encoding": encoding, "Content-Type": "image/png"}
    (answer,) = sent(server.url, post(path, bomb, headers))
    assert answer.status == 415


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: 1\r\n" % number for number in range(150)),
        b"X: " + b"x" * 70_000 + b"\r\n",
        b"X-Request-Id: a\r\n" * 150,
    ],
    ids=["many", "large", "one many times"],
)
def test_a_head_is_bounded(server: Server, headers: bytes) -> None:
    (answer,) = sent(server.url, LINE + headers + LENGTH + b"\r\n" + BODY)
    assert answer.status == 431
    assert "must have at most 100 headers and 65,536 bytes" in answer.message


@pytest.mark.parametrize("query", [b"\xff", b"%ff", b"a=%00", b"a" * 50_000, b"[", b"a=b&" * 10_000], ids=len)
@pytest.mark.parametrize("path", [b"/models", b"/metrics", b"/docs.json", b"/v2", b"/readyz", b"/"])
def test_information_is_given_whatever_follows_its_address(server: Server, path: bytes, query: bytes) -> None:
    (answer,) = sent(server.url, b"GET %b?%b HTTP/1.1\r\nHost: [\r\n%b\r\n" % (path, query, CLOSE))
    assert answer.status in {200, 400}, "400 from the parser"


@pytest.mark.parametrize(
    "path",
    [
        "/page/../service.py",
        "/page/..%2f..%2fservice.py",
        "/page/%2e%2e/service.py",
        "/page//etc/passwd",
        "/page/%00",
        "//",
        "/%ff",
        "/page/%ff",
        "/page/" + "a" * 5000,
        "/..",
        "/*",
        "/classify_text/",
    ],
    ids=lambda path: path[:30],
)
def test_no_address_leads_out_of_the_page(server: Server, path: str) -> None:
    (answer,) = sent(server.url, b"GET %b HTTP/1.1\r\nHost: x\r\n%b\r\n" % (path.encode(), CLOSE))
    assert answer.status == 404
    assert answer.json()["request_id"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "HEAD"])
def test_other_methods_are_405(server: Server, method: str) -> None:
    data = b"%b /classify_text HTTP/1.1\r\nHost: x\r\n%b\r\n" % (method.encode(), CLOSE)
    with socket.create_connection(place_of(server.url), timeout=LIMIT_S) as connection:
        connection.sendall(data)
        got = b""
        while piece := connection.recv(65_536):
            got += piece
    assert got.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nallow: post\r\n" in got.lower()
