"""Reports finished requests to metrics, traces and the request log."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Protocol

import orjson

from serving.errors import ShedReason
from serving.load.admission import Priority
from serving.trace import begin_trace
from serving.watch.metrics import Metrics
from serving.watch.record import UNAVAILABLE, RequestOutcome, RequestRecord
from serving.watch.tracing import Tracer


class Log(Protocol):
    """Takes lines."""

    def write(self, line: str, /) -> object: ...


class Memory(Protocol):
    """Remembers what was answered."""

    def remember(self, record: RequestRecord, /) -> object: ...


class Observer:
    """Begins the record of each request, and reports it at its end.

    `tracer` is None when nobody collects traces. `log` gets one line of JSON for each request, unless it is None, and
    `memory` the answers.
    """

    def __init__(
        self, metrics: Metrics, tracer: Tracer | None = None, log: Log | None = None, memory: Memory | None = None
    ) -> None:
        self.metrics, self._tracer, self._log, self._memory = metrics, tracer, log, memory

    def begin(
        self, endpoint: str, headers: Mapping[str, str], request_id: str, arrived_s: float | None = None
    ) -> RequestRecord:
        """A record for a request to `endpoint` whose bytes came at `arrived_s`; None means now."""
        trace = None
        if self._tracer is not None:
            trace = self._tracer.begin(headers.get("traceparent"))
        elif self._log is not None and "traceparent" in headers:
            trace = begin_trace(headers["traceparent"])
        return RequestRecord(endpoint, request_id, trace, arrived_s)

    def refused(self, endpoint: str, priority: Priority, reason: ShedReason, request_id: str, arrived_s: float) -> str:
        """Report a request that was refused before it was parsed. Returns the value of its `Server-Timing`."""
        self.metrics.shed(priority, reason)
        if self._tracer is None and self._log is None:
            self.metrics.refused(endpoint)
            waited_ms = f"{(time.monotonic() - arrived_s) * 1e3:.3f}"
            return f"wait;dur={waited_ms}, admission;dur=0.0, total;dur={waited_ms}"
        record = self.begin(endpoint, {}, request_id, arrived_s)
        record.timings.end("admission")
        self.ended(record, UNAVAILABLE)
        return record.timings.header()

    def ended(self, record: RequestRecord, status: int) -> None:
        """Report a request that was answered with `status`."""
        outcome = record.outcome(status)
        self.metrics.ended(record, outcome)
        if self._memory is not None and record.answers:
            self._memory.remember(record)
        if self._tracer is not None:
            self._tracer.ended(record, outcome, status)
        if self._log is not None:
            self._log.write(orjson.dumps(line(record, outcome, status)).decode() + "\n")


def line(record: RequestRecord, outcome: RequestOutcome, status: int) -> dict[str, object]:
    """What the log says of a request. It never holds the request's content."""
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
