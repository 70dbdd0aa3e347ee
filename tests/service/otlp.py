"""A collector: an HTTP server that takes OTLP's protobufs, as a real one does, and keeps the spans."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


@dataclass
class Got:
    """A span as it came; ids as hex digits."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    error: bool


class Collector:
    def __init__(self, url: str) -> None:
        self.url = url
        self.spans: list[Got] = []

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"]
            for scope in resource.scope_spans:
                self.spans += [got(service, span) for span in scope.spans]

    def trace(self, trace_id: str) -> dict[str, Got]:
        return {span.name: span for span in self.spans if span.trace_id == trace_id}

    def of_request(self, request_id: str) -> Got | None:
        return next((s for s in self.spans if s.attributes.get("sieve.request_id") == request_id), None)

    def wait(self, done: Callable[[], object], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, [span.name for span in self.spans]
            time.sleep(0.05)


def got(service: str, span: Any) -> Got:
    values = {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}
    links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
    ids = (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex())
    times = (span.start_time_unix_nano, span.end_time_unix_nano)
    return Got(service, span.name, *ids, span.kind, *times, values, links, span.status.code == 2)


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            assert self.headers["content-type"] == "application/x-protobuf"
            there.take(body)
            reply = ExportTraceServiceResponse().SerializeToString()
            self.send_response(200)
            self.send_header("content-length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    there = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield there
    server.shutdown()
