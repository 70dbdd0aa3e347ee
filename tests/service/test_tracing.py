"""Traces as a collector gets them, and the log of requests, of a real service whose texts all escalate."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, PATIENT_MS, Server, command, pauses, serve
from tests.service.otlp import Collector, Got, collector
from tests.service.test_degraded import TEXT_ONLY, with_point

SERVER, CLIENT = 2, 3
SECRET = "where is my refund of 4711 euros"


@pytest.fixture(scope="module")
def traced(
    tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Collector, Path]]:
    folder = tmp_path_factory.mktemp("traced")
    home = with_point(tiny_cascades, folder / "home", threshold=1.1)
    with collector() as there, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", there.url)
        patch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
        patch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        log, settings = folder / "log", folder / "settings.toml"
        # Requests that come together share a batch, however fast the expert is.
        settings.write_text("workers = 1\nbatch_window_ms = 50.0\n")
        more = ("--arg", "log_requests=true", "--arg", f"settings={settings}")
        with serve(*TEXT_ONLY, *more, home=home, folder=ROOT, log=log) as server:
            yield server, there, log


def send(
    server: Server, request_id: str, budget_ms: float = PATIENT_MS, traceparent: str | None = None
) -> dict[str, Any]:
    headers = {"X-Request-Id": request_id, **({"traceparent": traceparent} if traceparent else {})}
    with server.client() as client:
        body = {"text": SECRET, "budget_ms": budget_ms}
        return dict(client.post("/classify_text", json=body, headers=headers).json())


PARENT = "b7ad6b7169203331"


@dataclass(frozen=True)
class Sent:
    """A request that got a full answer in time."""

    request_id: str
    trace_id: str
    answer: dict[str, Any]


def send_in_full(server: Server, name: str, sampled: bool | None = None) -> Sent:
    """Send until an answer is full and in time, with new ids each time. `sampled`: what the caller decided."""
    end_s, pause = time.monotonic() + LIMIT_S, pauses()
    while True:
        trace_id = f"{random.getrandbits(128):032x}"
        traceparent = None if sampled is None else f"00-{trace_id}-{PARENT}-{int(sampled):02x}"
        sent = Sent(f"{name}-{trace_id[:8]}", trace_id, send(server, f"{name}-{trace_id[:8]}", traceparent=traceparent))
        if "label" in sent.answer and not sent.answer["degraded"] and sent.answer["timings_ms"]["total"] < PATIENT_MS:
            return sent
        assert time.monotonic() < end_s, sent
        time.sleep(next(pause))


def test_one_trace_from_the_caller_to_the_batch_in_the_experts_process(traced: tuple[Server, Collector, Path]) -> None:
    server, there, _ = traced
    sent = send_in_full(server, "sampled", sampled=True)
    trace_id = sent.trace_id
    assert sent.answer["stage"] == "expert"
    parts = {"wait", "admission", "read", "tokenise", "screen", "queue", "expert", "encode"}
    wanted = {"POST /classify_text", "batch", "run", *parts}
    there.wait(lambda: set(there.trace(trace_id)) >= wanted)
    spans = there.trace(trace_id)
    assert set(spans) == wanted
    root = spans["POST /classify_text"]
    assert (root.parent_id, root.kind, root.service) == (PARENT, SERVER, "sieve")
    assert all(spans[part].parent_id == root.span_id for part in parts)
    batch, run = spans["batch"], spans["run"]
    assert (batch.parent_id, batch.kind) == (root.span_id, CLIENT)
    assert batch.links == [(trace_id, root.span_id)]
    assert spans["expert"].links == [(trace_id, batch.span_id)]
    assert (run.parent_id, run.kind, run.service) == (batch.span_id, SERVER, "sieve-expert")
    assert (
        root.attributes.items()
        >= {
            "http.route": "/classify_text",
            "http.response.status_code": 200,
            "sieve.request_id": sent.request_id,
            "sieve.outcome": "ok",
            "sieve.stage": "expert",
            "sieve.cascade": "tiny-text",
            "sieve.escalated": 1,
            "sieve.budget_ms": 1000.0,
        }.items()
    )
    # One after the other, and all within the request; a millisecond for two clocks of one machine.
    names = ("wait", "admission", "read", "tokenise", "screen", "queue", "expert", "encode")
    ordered = [spans[part] for part in names]
    assert all(one.end_ns <= other.start_ns + 1e6 for one, other in itertools.pairwise(ordered))
    assert root.start_ns - 1e6 <= batch.start_ns <= run.start_ns + 1e6
    assert run.end_ns <= batch.end_ns + 1e6
    assert batch.end_ns <= root.end_ns + 1e6
    assert abs(root.end_ns / 1e9 - time.time()) < 60


def test_requests_that_share_a_batch_are_linked_from_it(traced: tuple[Server, Collector, Path]) -> None:
    server, there, _ = traced

    with ThreadPoolExecutor(16) as pool:
        sent = list(pool.map(lambda number: send_in_full(server, f"together-{number}", sampled=True), range(64)))
    there.wait(lambda: all(there.of_request(each.request_id) for each in sent))
    answered = {each.trace_id for each in sent}

    def shared() -> list[Got]:
        """Batches of several requests, all of which were answered in full."""
        batches = [span for span in there.spans if span.name == "batch" and len(span.links) > 1]
        return [batch for batch in batches if {trace_id for trace_id, _ in batch.links} <= answered]

    there.wait(shared)
    batch = shared()[0]
    assert batch.attributes["sieve.requests"] == len(batch.links) == batch.attributes["sieve.batch_size"]
    for trace_id, span_id in batch.links:
        spans = there.trace(trace_id)
        assert spans["POST /classify_text"].span_id == span_id
        assert (batch.trace_id, batch.span_id) in spans["expert"].links


def test_the_slow_and_the_degraded_are_exported_whatever_was_drawn(traced: tuple[Server, Collector, Path]) -> None:
    server, there, _ = traced
    not_drawn = send_in_full(server, "not-drawn")
    declined = send_in_full(server, "declined", sampled=False)
    assert send(server, "late", budget_ms=0.05)["degraded"] == "deadline"
    late_and_declined = f"00-{9:032x}-{9:016x}-00"
    assert send(server, "late-declined", budget_ms=0.05, traceparent=late_and_declined)["degraded"] == "deadline"
    there.wait(lambda: there.of_request("late-declined"))
    late = there.of_request("late")
    assert late is not None
    assert (late.attributes["sieve.outcome"], late.attributes["sieve.degraded"]) == ("degraded", "deadline")
    assert late.parent_id == ""
    # Sent before these two, and nothing of the same queue overtakes.
    assert there.of_request(not_drawn.request_id) is None
    assert there.of_request(declined.request_id) is None


def test_the_log_has_a_line_for_each_request_and_nothing_that_was_in_it(traced: tuple[Server, Collector, Path]) -> None:
    server, _, log = traced
    sent = send_in_full(server, "logged", sampled=True)
    with server.client() as client:
        client.post("/classify_text", content=b'{"text": 5, "extra": "4711"}', headers={"X-Request-Id": "bad"})
    end = time.monotonic() + LIMIT_S
    while "bad" not in (lines := read(log)):
        assert time.monotonic() < end
        time.sleep(0.05)
    line = lines[sent.request_id]
    assert line["trace_id"] == sent.trace_id
    assert (line["endpoint"], line["status"], line["outcome"]) == ("/classify_text", 200, "ok")
    assert (line["stage"], line["items"], line["escalated"], line["budget_ms"]) == ("expert", 1, 1, 1000.0)
    assert line["timings_ms"] == sent.answer["timings_ms"]
    assert (lines["bad"]["status"], lines["bad"]["outcome"], lines["bad"]["stage"]) == (422, "invalid", "none")
    assert "4711" not in log.read_text()
    assert "refund" not in log.read_text()


def read(log: Path) -> dict[str, dict[str, object]]:
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return {line["request_id"]: line for line in lines}


def test_a_protocol_that_is_not_spoken_ends_the_service_with_its_sentence(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    line, environment = command("serve", "--port", "0", *TEXT_ONLY, home=tiny_cascades.home)
    environment |= {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0
    assert "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_nothing_of_opentelemetry_is_imported_when_it_is_off() -> None:
    code = (
        "import sys, serving.http.api, serving.http.expert_app, serving.cascade.modality\n"
        "from serving.watch.tracing import open_tracer, tracing_settings\n"
        "assert open_tracer('sieve', tracing_settings({})) is None\n"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=60)
