"""Who is told of every request: metrics always, traces and the log of requests when they are asked for."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import orjson
from starlette.requests import Request

from serving.watch.metrics import Metrics
from serving.watch.record import Journey, RequestOutcome
from serving.watch.tracing import Tracer, begin


class Observer:
    """`tracer`: None when nobody collects traces. `log`: where a line of JSON goes for each request, or None."""

    def __init__(self, metrics: Metrics, tracer: Tracer | None = None, log: TextIO | None = None) -> None:
        self.metrics, self._tracer, self._log = metrics, tracer, log

    def begin(self, endpoint: str, request: Request) -> Journey:
        """A request has come."""
        journey = Journey(endpoint)
        if self._tracer is not None:
            journey.trace = self._tracer.begin(request.headers.get("traceparent"))
        elif self._log is not None and "traceparent" in request.headers:
            journey.trace = begin(request.headers["traceparent"], None)
        return journey

    def ended(self, journey: Journey, status: int) -> None:
        """It has its answer."""
        outcome = journey.outcome(status)
        self.metrics.ended(journey, outcome)
        if self._tracer is not None:
            self._tracer.ended(journey, outcome, status)
        if self._log is not None:
            self._log.write(orjson.dumps(line(journey, outcome, status)).decode() + "\n")


def stdout() -> TextIO:
    """Whole lines to the process's standard output, where a container's log comes from."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    return sys.stdout


def line(journey: Journey, outcome: RequestOutcome, status: int) -> dict[str, Any]:
    """What the log says of a request; never what was in it."""
    trace = journey.trace
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "request_id": journey.request_id,
        "trace_id": f"{trace.trace_id:032x}" if trace else None,
        "endpoint": journey.endpoint,
        "status": status,
        "outcome": outcome,
        "stage": journey.stage,
        "model": journey.model,
        "items": len(journey.outcomes),
        "escalated": sum(item.escalated for item in journey.outcomes),
        "degraded": journey.degraded,
        "budget_ms": journey.budget.budget_ms if journey.budget else None,
        "timings_ms": journey.as_dict(),
    }
