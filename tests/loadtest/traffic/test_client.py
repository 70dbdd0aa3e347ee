"""The open-loop client against real little servers. What is asserted of times follows from who waited for whom."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from loadtest.run import Known, UnreachableError, get_to_know, measured
from loadtest.traffic.client import ask_one_by_one, send_all
from loadtest.traffic.workload import Sample
from loadtest.verdict.objective import Objective
from loadtest.verdict.outcome import Outcome
from tests.conftest import ROOT

ANSWER = {"label": "ham", "stage": "screen", "degraded": None}
SAMPLE = Sample("/classify_text", b"{}", "application/json", "short", label="ham")
Reply = tuple[int, bytes] | None


@contextmanager
def little_server(reply: Callable[[bytes], Reply]) -> Iterator[str]:
    """A server whose reply is a function of the body: status and body, or None to hang up. Its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            found = reply(self.rfile.read(int(self.headers["Content-Length"])))
            if found is None:
                self.close_connection = True
                return
            self.send_response(found[0])
            self.send_header("Content-Length", str(len(found[1])))
            self.send_header("Server-Timing", "screen;dur=0.5, total;dur=1")
            self.end_headers()
            self.wfile.write(found[1])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Crowded(ThreadingHTTPServer):
        request_queue_size = 512
        daemon_threads = True

    server = Crowded(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def ok(**changes: object) -> Reply:
    return 200, json.dumps({**ANSWER, **changes}).encode()


def only(reply: Callable[[bytes], Reply], timeout_s: float = 20.0) -> Outcome:
    with little_server(reply) as url:
        (outcome,) = send_all(url, [SAMPLE], np.zeros(1), timeout_s=timeout_s)
    return outcome


def test_a_stall_is_charged_to_all_that_were_due_meanwhile() -> None:
    one_at_a_time, first = threading.Lock(), [True]

    def stall(_: bytes) -> Reply:
        with one_at_a_time:
            if first.pop() if first else False:
                time.sleep(0.6)
        return ok()

    due_s = np.arange(50) / 100
    with little_server(stall) as url:
        outcomes = send_all(url, [SAMPLE] * 50, due_s, timeout_s=20)
    assert Counter(o.kind for o in outcomes) == {"ok": 50}
    late = {o.due_s: o.latency_ms for o in outcomes}
    # A closed loop would have charged one request. The stall began when the first came, so none ended before 0.6 s.
    for due, latency_ms in late.items():
        assert latency_ms >= 600 - 1e3 * due - 1


def test_nothing_leaves_before_it_is_due_and_all_is_accounted_for() -> None:
    seen: list[float] = []
    with little_server(lambda _: seen.append(time.monotonic()) or ok()) as url:  # type: ignore[func-returns-value]
        due_s = np.array([0.0, 0.2, 0.2, 0.4])
        outcomes = send_all(url, [SAMPLE] * 4, due_s, timeout_s=20)
    assert sorted(o.due_s for o in outcomes) == due_s.tolist()
    assert all(o.lag_ms >= 0 for o in outcomes)
    assert all(o.latency_ms >= o.lag_ms for o in outcomes)
    assert sorted(seen)[-1] - sorted(seen)[0] >= 0.4 - max(o.latency_ms for o in outcomes) / 1e3


@pytest.mark.parametrize(
    ("reply", "kind", "status"),
    [
        (ok(), "ok", 200),
        (ok(degraded="deadline"), "degraded", 200),
        ((503, b"{}"), "shed", 503),
        ((429, b""), "shed", 429),
        ((500, b"oops"), "failed", 500),
        ((422, b"{}"), "failed", 422),
        ((200, b"<html>"), "failed", 200),
        ((200, b"[1, 2]"), "failed", 200),
        (None, "failed", 0),
    ],
)
def test_every_reply_has_a_kind(reply: Reply, kind: str, status: int) -> None:
    outcome = only(lambda _: reply)
    assert (outcome.kind, outcome.status) == (kind, status)
    if outcome.answered:
        assert (outcome.stage, outcome.right, outcome.server_ms) == ("screen", True, 1.0)


def test_a_wrong_label_is_seen_and_a_missing_one_is_not_judged() -> None:
    assert only(lambda _: ok(label="spam")).right is False
    assert only(lambda _: (200, b'{"stage": "screen"}')).right is None


def test_who_waits_too_long_gives_up() -> None:
    let_go = threading.Event()
    outcome = only(lambda _: (let_go.wait(1.0) and ok()) or None, timeout_s=0.2)
    let_go.set()
    assert (outcome.kind, outcome.status) == ("timed out", 0)
    assert outcome.latency_ms >= 200


def test_nobody_there_is_a_failure_that_is_told() -> None:
    outcomes = send_all("http://127.0.0.1:1", [SAMPLE] * 3, np.zeros(3))
    assert [o.kind for o in outcomes] == ["failed"] * 3
    for url in ("http://127.0.0.1:1", "127.0.0.1:1", "no url"):
        with pytest.raises(UnreachableError, match="got no reply; start the service"):
            get_to_know(url, [SAMPLE], seed=1)
    with little_server(lambda _: (404, b"{}")) as url, pytest.raises(UnreachableError, match="got status 404"):
        get_to_know(url, [SAMPLE] * 50, seed=1)


def test_a_generator_that_cannot_keep_its_schedule_makes_an_invalid_run() -> None:
    def drive(observe: Callable[[Outcome], object], max_lag_ms: float) -> dict[str, object]:
        due_s = np.arange(60) / 400
        with little_server(lambda _: ok()) as url:
            outcomes = send_all(url, [SAMPLE] * 60, due_s, timeout_s=20, observe=observe)
        known = Known([SAMPLE], [])
        return measured(outcomes, 0.15, Objective(limits_ms={"p99": 1e6}), known, outcomes, max_lag_ms)

    # 10 ms of other work after each reply, where one is due every 2.5 ms.
    behind = drive(lambda _: time.sleep(0.01), 30.0)
    assert behind["generator_lag_p99_ms"] > 30  # type: ignore[operator]
    assert (behind["valid"], behind["passed"]) == (False, False), "though every limit holds"
    in_time = drive(lambda _: None, 1e6)
    assert (in_time["valid"], in_time["passed"]) == (True, True)


def test_one_by_one_is_one_by_one() -> None:
    inside, most = [0], [0]

    def count(_: bytes) -> Reply:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.002)
        inside[0] -= 1
        return ok()

    with little_server(count) as url:
        outcomes = ask_one_by_one(url, [SAMPLE] * 20)
    assert most == [1]
    assert [o.due_s for o in outcomes] == sorted(o.due_s for o in outcomes)


def test_who_was_degraded_when_asked_alone_is_hard() -> None:
    replies = {b"sure": ok(), b"unsure": ok(stage="expert"), b"too late": ok(degraded="deadline")}
    samples = [Sample("/", body, "", "short") for body in replies]
    with little_server(lambda body: replies[body]) as url:
        known = get_to_know(url, samples, seed=1)
    assert {s.body: s.shape for s in known.samples} == {
        b"sure": "short, easy",
        b"unsure": "short, hard",
        b"too late": "short, hard",
    }
    with little_server(lambda _: (200, b'{"label": "ham"}')) as url:
        assert {s.shape for s in get_to_know(url, samples, seed=1).samples} == {"short"}


MANY = """
import resource, sys
import numpy as np
from loadtest.traffic.client import send_all
from loadtest.traffic.workload import Sample
from tests.conftest import ROOT
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[2])))
outcomes = send_all(sys.argv[1], [Sample("/", b"{}", "application/json", "short")] * 250, np.zeros(250), timeout_s=60)
print(sum(o.answered for o in outcomes), max(o.lag_ms for o in outcomes) > 300)
"""


@pytest.mark.parametrize(("files", "waits"), [(4096, False), (220, True)])
def test_open_files_are_no_failures_of_the_server(files: int, waits: bool) -> None:
    def slowly(_: bytes) -> Reply:
        time.sleep(0.4)
        return ok()

    with little_server(slowly) as url:
        line = [sys.executable, "-c", MANY, url, str(files)]
        done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    # Where there are not files enough, the rest waits, which is the generator's lateness and told as such.
    answered, waited = done.stdout.split()
    assert answered == "250"
    assert waited == "True" or not waits
