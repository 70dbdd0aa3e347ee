"""What surrounds a handler: ids, admission, timings, reports and errors."""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import Any

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Receive, Scope, Send

from serving.errors import (
    ArtifactError,
    FailedItemError,
    InvalidInputError,
    MalformedError,
    NotServedError,
    OverloadedError,
    ShedReason,
    SieveError,
    TooLargeError,
    TooSlowError,
    WrongTypeError,
)
from serving.http.guard import ARRIVED, Enter, Guard, Worker
from serving.load.admission import Admission
from serving.load.turns import SLICE_MS
from serving.watch.metrics import Metrics
from serving.watch.observer import Observer
from serving.watch.record import RequestRecord
from tests.serving.asgi import asked, post, posting, with_client
from tests.serving.conftest import sample


class Guarded:
    """A guard with a small limit, and the lines of its request log."""

    def __init__(self, metrics: Metrics, limit: int = 10) -> None:
        self.admission = Admission(limit)
        self._log = io.StringIO()
        self.guard = Guard(Observer(metrics, log=self._log), self.admission)

    def app(self, handler: Worker) -> Any:
        return posting(self.guard.limited("/work", handler))

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.getvalue().splitlines()]


@pytest.fixture
def guarded(metrics: Metrics) -> Guarded:
    return Guarded(metrics)


async def answering(_request: Request, record: RequestRecord, enter: Enter) -> dict[str, Any]:
    enter()
    record.timings.end("work")
    return {"label": "a"}


async def informing(_request: Request, _record: RequestRecord) -> dict[str, Any]:
    return {"label": "a"}


def raising(error: Exception) -> Worker:
    async def handler(_request: Request, _record: RequestRecord, enter: Enter) -> dict[str, Any]:
        enter()
        raise error

    return handler


def test_an_answer_has_its_id_and_says_where_the_time_went(guarded: Guarded) -> None:
    reply = post(guarded.app(answering), headers={"X-Request-Id": "order-17"})
    body = reply.json()
    assert list(body) == ["label", "request_id", "timings_ms"]
    assert (body["label"], body["request_id"], reply.headers["x-request-id"]) == ("a", "order-17", "order-17")
    assert list(body["timings_ms"]) == ["admission", "work", "encode", "total"]
    parts = [part.partition(";dur=") for part in reply.headers["server-timing"].split(", ")]
    assert {name: float(value) for name, _, value in parts} == body["timings_ms"]
    assert guarded.admission.in_flight == 0


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "naïve"])
def test_an_id_that_is_not_sound_is_replaced(guarded: Guarded, sent: str) -> None:
    got = post(guarded.app(answering), headers={"X-Request-Id": sent.encode()}).json()["request_id"]
    assert len(got) == 32
    assert int(got, 16)


@pytest.mark.parametrize(
    ("error", "status", "field"),
    [
        (TooSlowError("body", "must arrive in time"), 408, "body"),
        (TooLargeError("body", "must be smaller"), 413, "body"),
        (WrongTypeError("image", "must be an image"), 415, "image"),
        (FailedItemError("text"), 500, "text"),
        (MalformedError("body", "must be JSON"), 400, "body"),
        (InvalidInputError("text", "must be a string"), 422, "text"),
        (NotServedError("started without a text cascade"), 404, None),
        (OverloadedError("come back later"), 503, None),
        (ArtifactError("a damaged file"), 500, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, SieveError) else "",
)
def test_each_error_has_its_status_and_its_sentence(
    guarded: Guarded, error: SieveError, status: int, field: str | None
) -> None:
    reply = post(guarded.app(raising(error)))
    assert reply.status_code == status
    said = reply.json()["error"]
    assert (said["field"], said["message"]) == (field, str(error))
    assert reply.json()["request_id"] == reply.headers["x-request-id"]
    assert "admission;dur=" in reply.headers["server-timing"]
    assert reply.headers.get("retry-after") == ("1" if status == 503 else None)
    assert guarded.admission.in_flight == 0
    assert guarded.log()[0]["status"] == status


def test_a_client_learns_nothing_of_a_failure_but_the_id(guarded: Guarded) -> None:
    reply = post(guarded.app(raising(RuntimeError("a secret path"))))
    assert reply.status_code == 500
    assert "secret" not in reply.text
    assert "its log has the cause under the request id" in reply.json()["error"]["message"]
    assert guarded.log()[0]["outcome"] == "failed"


def test_a_client_that_hung_up_is_reported_as_gone(guarded: Guarded) -> None:
    post(guarded.app(raising(ClientDisconnect())))
    assert guarded.log()[0]["outcome"] == "gone"
    assert guarded.admission.in_flight == 0


def test_requests_beyond_the_limit_are_refused_and_high_priority_last(metrics: Metrics) -> None:
    guarded = Guarded(metrics, limit=10)
    full = asyncio.Event()

    async def waiting(_request: Request, _record: RequestRecord, enter: Enter) -> dict[str, Any]:
        enter()
        await full.wait()
        return {}

    async def scenario(client: httpx.AsyncClient) -> list[httpx.Response]:
        async def admitted(count: int) -> None:
            while guarded.admission.in_flight < count:
                await asyncio.sleep(0)

        high = {"X-Priority": "high"}
        inside = [asyncio.create_task(client.post("/")) for _ in range(9)]
        await admitted(9)
        refused = await client.post("/")
        inside.append(asyncio.create_task(client.post("/", headers=high)))
        await admitted(10)
        refused_too = await client.post("/", headers=high)
        full.set()
        return [refused, refused_too, *await asyncio.gather(*inside)]

    refused, refused_too, *answered = with_client(guarded.app(waiting), scenario)
    assert [r.status_code for r in answered] == [200] * 10
    for reply in (refused, refused_too):
        assert reply.status_code == 503
        assert reply.json()["error"]["reason"] == "overloaded"
        assert reply.headers["retry-after"] == "1"
    metrics.flush()
    assert sample("sieve_shed_total", priority="normal", reason="reserved") == 1
    assert sample("sieve_shed_total", priority="high", reason="limit") == 1
    assert guarded.admission.in_flight == 0


def test_a_body_that_is_still_arriving_has_no_place(metrics: Metrics) -> None:
    guarded = Guarded(metrics, limit=2)
    arrived, begun = asyncio.Event(), []

    async def reading(request: Request, _record: RequestRecord, enter: Enter) -> dict[str, Any]:
        if "slow" in request.headers:
            begun.append(request)
            await arrived.wait()
        enter()
        return {}

    async def scenario(client: httpx.AsyncClient) -> list[int]:
        slow = [asyncio.create_task(client.post("/", headers={"slow": "1"})) for _ in range(115)]
        while len(begun) < len(slow):
            await asyncio.sleep(0)
        assert guarded.admission.in_flight == 0
        statuses = [(await client.post("/")).status_code for _ in range(20)]
        arrived.set()
        await asyncio.gather(*slow)
        return statuses

    assert with_client(guarded.app(reading), scenario) == [200] * 20


@pytest.mark.parametrize("reason", ["memory", "reading", "deadline"])
def test_what_is_refused_on_the_way_is_counted_with_its_reason(metrics: Metrics, reason: ShedReason) -> None:
    guarded = Guarded(metrics)
    reply = post(guarded.app(raising(OverloadedError("come back later", reason))), headers={"X-Priority": "high"})
    assert (reply.status_code, reply.json()["error"]["reason"]) == (503, "overloaded")
    metrics.flush()
    assert sample("sieve_shed_total", priority="high", reason=reason) == 1


def test_an_unknown_priority_is_refused(guarded: Guarded) -> None:
    reply = post(guarded.app(answering), headers={"X-Priority": "urgent"})
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, "X-Priority")
    assert "urgent" not in reply.text


def test_requests_that_arrive_together_are_counted_before_the_second_one_works(guarded: Guarded) -> None:
    seen = []

    async def counting(_request: Request, record: RequestRecord, enter: Enter) -> dict[str, Any]:
        enter()
        record.was_read(1000)
        await guarded.guard.turns.take(record, "text", 1)
        seen.append(guarded.admission.in_flight)
        time.sleep(1.5e-3 * SLICE_MS)
        return {}

    asked(guarded.app(counting), *[("POST", "/", {})] * 5)
    assert seen[1:] == [4, 3, 2, 1]


def test_time_before_the_request_was_seen_counts(guarded: Guarded) -> None:
    async def arrived(scope: Scope, receive: Receive, send: Send) -> None:
        await guarded.app(answering)({**scope, ARRIVED: time.monotonic() - 0.2}, receive, send)

    took = post(arrived).json()["timings_ms"]
    assert list(took) == ["wait", "admission", "work", "encode", "total"]
    assert 200 <= took["wait"] <= took["total"]


def test_a_request_that_could_not_be_on_time_is_refused_while_others_work(guarded: Guarded, metrics: Metrics) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def working(_request: Request, record: RequestRecord, enter: Enter) -> dict[str, Any]:
        enter()
        record.was_read(50)
        await guarded.guard.turns.take(record, "text", 1)
        begun.set()
        await go_on.wait()
        return {}

    async def late(scope: Scope, receive: Receive, send: Send) -> None:
        ago_s = float(dict(scope["headers"]).get(b"ago", b"0"))
        await guarded.app(working)({**scope, ARRIVED: time.monotonic() - ago_s}, receive, send)

    async def scenario(client: httpx.AsyncClient) -> list[httpx.Response]:
        first = asyncio.create_task(client.post("/", headers={"ago": "0.3"}))
        await begun.wait()
        refused = await client.post("/", headers={"ago": "0.3"})
        go_on.set()
        return [await first, refused]

    first, refused = with_client(late, scenario)
    assert first.status_code == 200
    assert first.json()["timings_ms"]["total"] >= 300, "late, and said so"
    assert refused.status_code == 503
    metrics.flush()
    assert sample("sieve_shed_total", priority="normal", reason="deadline") == 1
    assert guarded.admission.in_flight == 0


def test_every_request_is_reported_once(guarded: Guarded, metrics: Metrics) -> None:
    post(guarded.app(answering), headers={"X-Request-Id": "one"})
    post(guarded.app(raising(InvalidInputError("text", "must be there"))), headers={"X-Request-Id": "two"})
    assert [(line["request_id"], line["endpoint"], line["outcome"]) for line in guarded.log()] == [
        ("one", "/work", "ok"),
        ("two", "/work", "invalid"),
    ]
    metrics.flush()
    nobody = {"stage": "none", "model": "none"}
    for outcome in ("ok", "invalid"):
        assert sample("sieve_requests_total", endpoint="/work", outcome=outcome, **nobody) == 1


def test_information_is_never_refused_and_not_reported(metrics: Metrics) -> None:
    guarded = Guarded(metrics, limit=1)
    assert guarded.admission.enter("high", 0.0, 0.0) is None
    reply = post(posting(guarded.guard.free(informing)), headers={"X-Request-Id": "one"})
    assert reply.json() == {"label": "a", "request_id": "one"}
    assert reply.headers["x-request-id"] == "one"

    async def missing(_request: Request, _record: RequestRecord) -> dict[str, Any]:
        raise NotServedError("nothing here")

    assert post(posting(guarded.guard.free(missing))).status_code == 404
    assert guarded.log() == []
