"""Requests of which nginx or HAProxy may find another end than the service: none comes through as two."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import httpx
import pytest

from tests.hostile.raw import Answer, place_of, sent_patiently
from tests.hostile.test_http import BODY, CHUNKED, LENGTH, LINE
from tests.hostile.test_keep_alive import PROXIES
from tests.server import Server
from tests.service.test_two_servers import counted

INNER = LINE + b"Connection: close\r\n" + LENGTH + b"\r\n" + BODY
END = b"0\r\n\r\n"
CHUNKS = b"%x\r\n%b\r\n%b" % (len(BODY), BODY, END)
SHORT, LONG = b"Content-Length: %d\r\n" % len(END), b"Content-Length: %d\r\n" % len(BODY + INNER)
ODD = (
    CHUNKED.replace(b":", b" :"),
    CHUNKED.replace(b": ", b":\t"),
    CHUNKED.replace(b": ", b":\x0b"),
    CHUNKED.replace(b"chunked", b"xchunked"),
    CHUNKED.replace(b"chunked", b"chunked, identity"),
    CHUNKED.replace(b"chunked", b"identity, chunked"),
    CHUNKED.replace(b"chunked", b"Chunked"),
    b"X: 1\n" + CHUNKED,
    b"X: 1\r" + CHUNKED,
    b"X: 1\r\n " + CHUNKED,
    CHUNKED * 2,
    CHUNKED + b"Transfer-Encoding: identity\r\n",
)
PLAIN = LENGTH, BODY + INNER
"""Two requests, behind each other."""
# Which part is the inner request depends on which length counts.
DATA = [
    PLAIN,
    *((LENGTH + LONG, BODY + INNER), (LONG + LENGTH, BODY + INNER), (LENGTH * 2, BODY + INNER)),
    *((framing, END + INNER) for framing in (LONG + CHUNKED, CHUNKED + LONG, SHORT + CHUNKED, CHUNKED + SHORT)),
    *((LONG + odd, CHUNKS + INNER) for odd in ODD),
    *((SHORT + odd, END + INNER) for odd in ODD),
]
SETTLED_S = 1.5
"""After so long all counts are on the page of metrics."""


@pytest.mark.hostile
@pytest.mark.parametrize("name", PROXIES)
def test_the_service_reads_as_many_requests_as_the_proxy_sent(server: Server, name: str, tmp_path: Path) -> None:
    """A request that a proxy does not know of takes the answer of its next client, and goes past its rules."""
    if not shutil.which(name):
        pytest.skip(f"no {name} here (apt-get install {name})")
    with PROXIES[name](server, tmp_path) as url:
        for framing, body in DATA:
            begin = counted(server)
            answers = asyncio.run(sent_patiently(place_of(url), LINE + framing + b"\r\n" + body, patience_s=1.0))
            time.sleep(SETTLED_S)
            passed = sum(is_the_services(answer) for answer in answers)
            assert counted(server) - begin == passed, f"{framing!r}: {answers}"
            assert passed == 2 or (framing, body) != PLAIN, "nothing was counted"
            assert httpx.get(f"{url}/readyz").status_code == 200, "the next client gets its own answer"


def is_the_services(answer: Answer) -> bool:
    """Whether this is the service's answer to what it has read as a request; it says how long that took."""
    return "server-timing" in answer.headers
