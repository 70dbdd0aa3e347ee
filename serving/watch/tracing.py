"""Traces over OTLP: one of a request through its parts, to the call that took its items to an expert.

Whether a trace is exported is known only at its end: it is when its request was drawn (or the caller's `traceparent`
says so), and always when the request was slow, degraded or failed. Until then a request keeps ids and times alone,
which cost little; spans are made of them afterwards. OpenTelemetry's own tracer decides at the beginning. So only the
later stages of its SDK are used: queue, encoding, export. Without a collector none of it is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serving.errors import SieveError
from serving.trace import Attributes, CallSpan, Trace, begin_trace, new_span_id, read_traceparent
from serving.watch.record import RequestOutcome, RequestRecord

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
SAMPLER, SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
PROTOCOL = "http/protobuf"


class TracingError(SieveError):
    """OpenTelemetry's variables hold a value that cannot be used."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`share` of the requests, 0 to 1, whose trace is exported in any case."""

    share: float


def tracing_settings(variables: Mapping[str, str]) -> TracingSettings | None:
    """Read OpenTelemetry's variables; None when they name no collector.

    The exporter and its queue read theirs by themselves (headers, certificates, time limits, sizes). Raises
    TracingError.
    """
    if not any(variables.get(name) for name in ENDPOINTS) or variables.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    for name in PROTOCOLS:
        if variables.get(name, PROTOCOL) != PROTOCOL:
            raise TracingError(
                f"{name} must be {PROTOCOL}, got another protocol; leave it out, and name the collector's port for "
                "OTLP over HTTP (4318 as a rule)"
            )
    sampler = variables.get(SAMPLER, "parentbased_always_on")
    if sampler.endswith("always_off"):
        return TracingSettings(0.0)
    stated = variables.get(SAMPLER_ARG, "1")
    try:
        share = float(stated)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise TracingError(f"{SAMPLER_ARG} must be a share from 0 to 1, got {stated!r}; leave it out for all requests")
    return TracingSettings(share)


class Tracer:
    """Makes spans of requests and calls that have ended, and sends them to a collector from a thread of its own."""

    def __init__(self, settings: TracingSettings, service: str) -> None:
        from serving.watch.spans import Exporter

        self._share = settings.share
        self._export = Exporter(service).span

    def begin(self, traceparent: str | None) -> Trace:
        """The trace of a request that came with this header."""
        return begin_trace(traceparent, share=self._share)

    def ended(self, record: RequestRecord, outcome: RequestOutcome, status: int) -> None:
        """Export the trace of a request that has ended, if it was sampled, slow, degraded or failed."""
        trace = record.trace
        if trace is None or not (trace.sampled or outcome in ("degraded", "failed") or _slow(record)):
            return
        for call in trace.calls:
            self._claim(call, trace)
        timings = record.timings
        begin_s, end_s = timings.start_s, timings.start_s + timings.total_ms / 1e3
        failed = "the service failed on this request" if outcome == "failed" else None
        name = f"POST {record.endpoint}"
        ids = (trace.trace_id, trace.span_id, trace.parent_id)
        attributes = _attributes(record, outcome, status)
        self._export(name, *ids, begin_s, end_s, attributes, kind="SERVER", error=failed)
        self._parts(record, trace)

    def call_ended(self, call: CallSpan) -> None:
        """Export a call that has ended, if a trace that is exported holds it."""
        if call.home is not None:
            self._call(call, call.home)

    def ran(self, traceparent: str | None, begin_s: float, end_s: float, size: int) -> None:
        """In an expert's process: export the run of `size` items that a call with this header asked for."""
        got = read_traceparent(traceparent)
        if got is None or not got[2]:
            return
        ids = (got[0], new_span_id(), got[1])
        self._export("run", *ids, begin_s, end_s, {"sieve.batch_size": size}, kind="SERVER")

    def _claim(self, call: CallSpan, trace: Trace) -> None:
        """Put a call into the first exported trace among its requests'. One that still runs is exported at its end."""
        if call.home is None:
            call.home = trace
            if call.end_s is not None:
                self._call(call, trace)

    def _call(self, call: CallSpan, home: Trace) -> None:
        assert call.end_s is not None, "only calls that have ended are exported"
        links = [(trace.trace_id, trace.span_id) for trace in call.traces]
        named = {"sieve.batch_size": call.size, "sieve.requests": len(call.traces)}
        ids = (home.trace_id, call.span_id, home.span_id)
        self._export("batch", *ids, call.start_s, call.end_s, named, links, kind="CLIENT", error=call.error)

    def _parts(self, record: RequestRecord, trace: Trace) -> None:
        """A span for each part. `hop` and `expert` become one: their order in time is known only to the call."""
        took = dict(record.timings.parts())
        asked_ms = took.pop("expert", 0.0)
        begin_s = record.timings.start_s
        for part, took_ms in took.items():
            hop = part == "hop"
            end_s = begin_s + (took_ms + (asked_ms if hop else 0.0)) / 1e3
            links = [(call.home.trace_id, call.span_id) for call in trace.calls if call.home] if hop else []
            named = {"sieve.expert_ms": asked_ms} if hop else {}
            ids = (trace.trace_id, new_span_id(), trace.span_id)
            self._export("expert" if hop else part, *ids, begin_s, end_s, named, links)
            begin_s = end_s


def open_tracer(service: str, settings: TracingSettings | None) -> Tracer | None:
    """A tracer for the process `service`; None without settings."""
    return Tracer(settings, service) if settings else None


def _attributes(record: RequestRecord, outcome: RequestOutcome, status: int) -> Attributes:
    attributes: dict[str, str | float] = {
        "http.request.method": "POST",
        "http.route": record.endpoint,
        "http.response.status_code": status,
        "sieve.request_id": record.request_id,
        "sieve.outcome": outcome,
        "sieve.stage": record.stage,
        "sieve.model": record.model,
        "sieve.items": len(record.answers),
        "sieve.escalated": sum(answer.escalated for answer in record.answers),
    }
    if record.modality is not None:
        attributes["sieve.cascade"] = record.modality.name
    if record.degraded is not None:
        attributes["sieve.degraded"] = record.degraded
    if record.budget is not None:
        attributes["sieve.budget_ms"] = record.budget.budget_ms
    return attributes


def _slow(record: RequestRecord) -> bool:
    return record.budget is not None and record.timings.total_ms > record.budget.budget_ms
