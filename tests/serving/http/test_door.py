"""Which requests are refused unread, and with what response."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path

import httptools
import hypothesis
import hypothesis.strategies as st
import pytest

from serving.http.door import Door
from serving.http.draining import Draining
from serving.http.mount import Methods
from serving.load.admission import Admission
from serving.load.turns import Turn
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from tests.serving.conftest import sample

METHODS: Methods = {"/classify_text": "POST", "/classify_image": "POST", "/models": "GET"}
SERVER_HEADERS = [(b"date", b"today")]


def overload(admission: Admission) -> Turn:
    """Give the thread to a request with a minute of work."""
    turns, now_s = admission.turns, time.monotonic()
    first = Turn("text", 1.0, now_s - 60, 1e6)
    turns.enter(first, now_s - 60)
    turns.end(first, now_s)
    turns.look()
    second = Turn("text", 1.0, now_s, 1e6)
    turns.enter(second, now_s)
    return second


class Before:
    """A door in front of a process with a minute of work, unless it is `idle`; and its log."""

    def __init__(self, metrics: Metrics, *, idle: bool = False, draining: str | None = None) -> None:
        self.admission, self._log = Admission(), io.StringIO()
        if not idle:
            overload(self.admission)
        observer = Observer(metrics, log=self._log)
        self.door = Door(METHODS, observer, self.admission, Draining(draining), lambda: None)

    def refuse(self, data: bytes, waited_s: float = 0.0) -> bytes | None:
        async def refused() -> bytes | None:
            return self.door.refuse(data, lambda: time.monotonic() - waited_s, SERVER_HEADERS)

        return asyncio.run(refused())

    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self._log.getvalue().splitlines()]


@pytest.fixture
def before(metrics: Metrics) -> Before:
    return Before(metrics)


def request(
    *headers: str, line: str = "POST /classify_text HTTP/1.1", body: bytes = b'{"text": "a"}', length: int | None = None
) -> bytes:
    """One request as sent over HTTP."""
    stated = len(body) if length is None else length
    return "\r\n".join([line, "Host: x", *headers, f"Content-Length: {stated}", "", ""]).encode() + body


def parsed(response: bytes | None) -> tuple[str, dict[str, str], dict[str, object]]:
    assert response is not None
    head, _, body = response.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    assert int(headers["content-length"]) == len(body)
    return first, headers, json.loads(body)


def test_the_response_is_that_of_a_request_which_was_read(metrics: Metrics) -> None:
    before = Before(metrics, idle=True)
    before.admission.turns.enter(Turn("text", 1.0, time.monotonic(), 50.0), time.monotonic())
    first, headers, body = parsed(before.refuse(request("X-Request-Id: order-17"), waited_s=0.2))
    assert first == "HTTP/1.1 503 Service Unavailable"
    assert headers["date"] == "today"
    assert (headers["retry-after"], headers["content-type"]) == ("1", "application/json")
    assert body["request_id"] == headers["x-request-id"] == "order-17"
    error = body["error"]
    assert isinstance(error, dict)
    assert (error["field"], error["reason"]) == (None, "overloaded")
    assert "come back" in error["message"]
    took = dict(part.split(";dur=") for part in headers["server-timing"].split(", "))
    assert list(took) == ["wait", "admission", "total"]
    assert float(took["wait"]) >= 200
    (line,) = before.log()
    assert (line["request_id"], line["endpoint"], line["status"]) == ("order-17", "/classify_text", 503)
    metrics.flush()
    assert sample("sieve_shed_total", priority="normal", reason="deadline") == 1
    assert sample("sieve_requests_total", endpoint="/classify_text", outcome="shed", stage="none", model="none") == 1
    assert before.admission.shed["normal"] == 1
    assert before.admission.in_flight == 0


@pytest.mark.parametrize("stated", ["", "X-Request-Id: a b", "X-Request-Id: " + "x" * 129])
def test_without_a_sound_id_there_is_a_new_one(before: Before, stated: str) -> None:
    _, headers, _ = parsed(before.refuse(request(*([stated] if stated else []))))
    assert len(headers["x-request-id"]) == 32
    assert int(headers["x-request-id"], 16)


@pytest.mark.parametrize(
    "sent",
    [
        request("X-Priority: high"),
        request("x-priority: urgent"),
        request("Origin: https://there.example"),
        request("traceparent: 00-1-1-01"),
        request("Connection: close"),
        request("Connection: keep-alive, Upgrade", "Upgrade: websocket"),
        request("Expect: 100-continue"),
        request("Transfer-Encoding: chunked"),
        request('X-Request-Id: a"b'),
        request("X-Request-Id: a\\b"),
        request(line="POST /classify_text HTTP/1.0"),
        request(line="POST /classify_text?a=b HTTP/1.1"),
        request(line="GET /models HTTP/1.1"),
        request(length=14),
        request(length=12),
        request()[:-14],
        request() + request(),
        b"POST /classify_text HTTP/1.1\r\n\r\n",
        b"nonsense",
        b"",
    ],
)
def test_what_the_response_may_depend_on_is_read(before: Before, sent: bytes) -> None:
    assert before.refuse(sent) is None
    assert before.log() == []


def test_a_connection_that_stays_open_is_no_reason_to_read(before: Before) -> None:
    assert before.refuse(request("Connection: keep-alive")) is not None
    assert before.refuse(request(line="POST /classify_image HTTP/1.1", body=b"\x89PNG")) is not None


def test_nobody_need_be_refused_unless_somebody_is_at_work_or_places_are_few(metrics: Metrics) -> None:
    before = Before(metrics, idle=True)
    assert not before.door.looked()
    assert before.refuse(request()) is None
    before.admission.in_flight = before.admission.max_in_flight // 2
    assert before.door.looked()
    before.admission.in_flight = 0
    overload(before.admission)
    assert before.door.looked()


def test_a_request_that_has_waited_too_long_is_refused_however_little_work_is_ahead(metrics: Metrics) -> None:
    before = Before(metrics, idle=True)
    before.admission.turns.enter(Turn("text", 1.0, time.monotonic(), 50.0), time.monotonic())
    assert before.refuse(request()) is None
    assert before.refuse(request(), waited_s=0.04) is not None


def test_nothing_is_refused_unread_while_the_server_sends_its_clients_away(metrics: Metrics, tmp_path: Path) -> None:
    file = tmp_path / "drain"
    before = Before(metrics, draining=str(file))
    file.touch()
    assert before.refuse(request()) is None


def test_requests_that_are_let_pass_together_count_against_those_behind_them(metrics: Metrics) -> None:
    """They enter only in the next turn of the event loop."""
    before = Before(metrics, idle=True)
    turns = before.admission.turns
    for begin_s in (0.0, 1.0):  # a piece of work takes 10 ms
        turns.enter(turn := Turn("text", 1.0, begin_s, 50.0), begin_s)
        turns.end(turn, begin_s + 0.01)
        turns.look()
    now_s = time.monotonic()
    turns.enter(Turn("text", 1.0, now_s, 50.0), now_s)

    async def seen() -> tuple[list[bool], bool]:
        def passes() -> bool:
            return before.door.refuse(request(), time.monotonic, SERVER_HEADERS) is None

        together = [passes() for _ in range(10)]
        await asyncio.sleep(0)
        return together, passes()

    together, afterwards = asyncio.run(seen())
    assert together[0]
    assert together == sorted(together, reverse=True)
    assert not together[-1]
    assert afterwards, "nobody has entered"


LINES = st.lists(
    st.one_of(
        st.sampled_from(
            [
                b"Content-Length: 13",
                b"Content-Length: 12",
                b"Content-Length : 13",
                b"content-length:13",
                b"Content-Length: 13, 13",
                b"Content-Length: +13",
                b" folded: 1",
                b"X: 1\nTransfer-Encoding: chunked",
                b"X: 1\rTransfer-Encoding: chunked",
                b"Transfer-Encoding : chunked",
                b"X: \0",
                b"X: \x7f",
                b"X: \xff",
                b"no colon",
                b": no name",
                b"X-Y: z",
            ]
        ),
        st.binary(max_size=12),
    ),
    max_size=4,
)


@hypothesis.given(lines=LINES)
@hypothesis.settings(max_examples=500, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_only_what_the_parser_takes_for_one_request_is_refused_unread(before: Before, lines: list[bytes]) -> None:
    """Where a proxy in front finds another end of it, the rest would be taken for the next client's request."""
    sent = b"\r\n".join([b"POST /classify_text HTTP/1.1", *lines, b"Content-Length: 13", b"", b'{"text": "a"}'])
    if before.refuse(sent) is None:
        return
    seen: list[str] = []

    class Seen:
        def on_headers_complete(self) -> None:
            seen.append("head")

        def on_message_complete(self) -> None:
            seen.append("end")

    httptools.HttpRequestParser(Seen()).feed_data(sent)
    assert seen == ["head", "end"]


@pytest.mark.parametrize(
    "line",
    [
        "Content-Length: 12",
        "Content-Length: 13",
        "Content-Length : 12",
        "X: 1\nTransfer-Encoding: chunked",
        "X: 1\rTransfer-Encoding: chunked",
        "Transfer-Encoding : chunked",
        " folded",
        "\tfolded: 1",
        "X: \0",
        "no colon",
    ],
    ids=repr,
)
def test_a_head_that_others_may_read_in_another_way_is_parsed(before: Before, line: str) -> None:
    assert before.refuse(request(line)) is None
