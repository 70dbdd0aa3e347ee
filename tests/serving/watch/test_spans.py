"""The SDK's spans are made with our ids and on the wall clock; tests/service/test_tracing.py sends them for real."""

from __future__ import annotations

import time
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from serving.watch import spans


class Kept:
    """A processor that keeps the spans that it is given."""

    def __init__(self, *_: Any) -> None:
        self.spans: list[Any] = []

    def on_end(self, span: Any) -> None:
        self.spans.append(span)

    def shutdown(self) -> None:
        pass


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(spans, "BatchSpanProcessor", Kept)
    monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
    return spans.Exporter("sieve-test")


def test_a_span_has_our_ids_and_the_time_of_the_wall_clock(exporter: spans.Exporter) -> None:
    now_s = time.monotonic()
    exporter.span("screen", 7, 8, 9, now_s - 0.5, now_s - 0.25, {"label": "a"}, links=[(5, 6)])
    (span,) = exporter._out.spans
    assert (span.name, span.context.trace_id, span.context.span_id) == ("screen", 7, 8)
    assert (span.parent.trace_id, span.parent.span_id, span.parent.is_remote) == (7, 9, False)
    assert [(link.context.trace_id, link.context.span_id) for link in span.links] == [(5, 6)]
    assert dict(span.attributes) == {"label": "a"}
    assert span.resource.attributes["service.name"] == "sieve-test"
    assert span.end_time - span.start_time == pytest.approx(0.25e9, rel=1e-3)
    assert abs(span.end_time - time.time_ns()) < 60e9
    assert span.status.status_code is StatusCode.UNSET


def test_the_span_of_a_request_has_a_remote_parent_and_its_error(exporter: spans.Exporter) -> None:
    exporter.span("POST /classify_text", 7, 8, 9, 1.0, 2.0, {}, kind="SERVER", error="503")
    exporter.span("POST /classify_text", 7, 8, None, 1.0, 2.0, {}, kind="SERVER")
    refused, first = exporter._out.spans
    assert (refused.kind, refused.parent.is_remote) == (SpanKind.SERVER, True)
    assert (refused.status.status_code, refused.status.description) == (StatusCode.ERROR, "503")
    assert first.parent is None
