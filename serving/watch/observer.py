"""Who is told of every request: metrics always, traces and the log of requests when they are asked for."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
from starlette.requests import Request

from serving.trace import begin_trace
from serving.watch.metrics import Metrics
from serving.watch.record import RequestOutcome, RequestRecord
from serving.watch.tracing import Tracer


class Observer:
    """`tracer`: None when nobody collects traces. `log`: where a line of JSON goes for each request, or None."""

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None, log: TextIO | None = None) -> None:
        self.metrics, self._tracer, self._log = metrics, tracer, log

    def begin(self, endpoint: str, request: Request, request_id: str) -> RequestRecord:
        """A request has come."""
        trace = None
        if self._tracer is not None:
            trace = self._tracer.begin(request.headers.get("traceparent"))
        elif self._log is not None and "traceparent" in request.headers:
            trace = begin_trace(request.headers["traceparent"])
        return RequestRecord(endpoint, request_id, trace)

    def ended(self, record: RequestRecord, status: int) -> None:
        """It has its answer."""
        outcome = record.outcome(status)
        self.metrics.ended(record, outcome)
        if self._tracer is not None:
            self._tracer.ended(record, outcome, status)
        if self._log is not None:
            self._log.write(orjson.dumps(line(record, outcome, status)).decode() + "\n")


def stdout() -> TextIO:
    """Whole lines to the process's standard output, where a container's log comes from."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return sys.stdout


def line(record: RequestRecord, outcome: RequestOutcome, status: int) -> dict[str, Any]:
    """What the log says of a request; never what was in it."""
    trace = record.trace
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": record.request_id,
        "trace_id": f"{trace.trace_id:032x}" if trace else None,
        "endpoint": record.endpoint,
        "status": status,
        "outcome": outcome,
        "stage": record.stage,
        "model": record.model,
        "items": len(record.answers),
        "escalated": sum(item.escalated for item in record.answers),
        "degraded": record.degraded,
        "budget_ms": record.budget.budget_ms if record.budget else None,
        "timings_ms": record.timings.as_dict(),
    }
