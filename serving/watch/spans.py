"""Spans to a collector over OTLP; imported only where there is one.

The SDK's own tracer cannot make a span whose ids were given out before, so its read-only spans are made here.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSET = Status(StatusCode.UNSET)


class Exporter:
    """Queues spans of the process `service`, and sends them from a thread of its own."""

    def __init__(self, service: str) -> None:
        # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say counts.
        self._resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
        self._out = BatchSpanProcessor(OTLPSpanExporter())
        # What waits when the process ends is sent then.
        atexit.register(self._out.shutdown)

    def span(
        self,
        name: str,
        trace_id: int,
        span_id: int,
        parent_id: int | None,
        begin_s: float,
        end_s: float,
        attributes: Mapping[str, Any],
        links: Sequence[tuple[int, int]] = (),
        *,
        kind: str = "INTERNAL",
        error: str | None = None,
    ) -> None:
        """Queue one span; `begin_s` and `end_s` are the monotonic clock's, `links` pairs of trace and span id."""
        epoch_s = time.time() - time.monotonic()
        remote = kind == "SERVER"
        self._out.on_end(
            ReadableSpan(
                name,
                context=SpanContext(trace_id, span_id, False, SAMPLED),
                parent=SpanContext(trace_id, parent_id, remote, SAMPLED) if parent_id is not None else None,
                resource=self._resource,
                attributes=attributes,
                links=[Link(SpanContext(*ids, False, SAMPLED)) for ids in links],
                kind=SpanKind[kind],
                status=Status(StatusCode.ERROR, error) if error else UNSET,
                start_time=int((begin_s + epoch_s) * 1e9),
                end_time=int((end_s + epoch_s) * 1e9),
            )
        )
