"""Sends spans to a collector over OTLP. Imported only when there is a collector.

The ids of our spans were given out before the spans are made, which the SDK's own tracer cannot do. So this module
makes the SDK's read-only spans itself.
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from serving.trace import Attributes

SAMPLED = TraceFlags(TraceFlags.SAMPLED)
UNSET = Status(StatusCode.UNSET)


class Exporter:
    """Queues spans of the process `service` and sends them from a thread of its own."""

    def __init__(self, service: str) -> None:
        # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES take precedence.
        self._resource = Resource.create({"service.name": service}).merge(OTELResourceDetector().detect())
        self._out = BatchSpanProcessor(OTLPSpanExporter())
        # Sends what is still in the queue when the process ends.
        atexit.register(self._out.shutdown)

    def span(
        self,
        name: str,
        trace_id: int,
        span_id: int,
        parent_id: int | None,
        begin_s: float,
        end_s: float,
        attributes: Attributes,
        links: Sequence[tuple[int, int]] = (),
        *,
        kind: str = "INTERNAL",
        error: str | None = None,
    ) -> None:
        """Queue one span. Times are the monotonic clock's, in seconds; `links` are pairs of trace id and span id."""
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
