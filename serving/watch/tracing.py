"""Traces over OTLP: one of a request through its parts, to the call that took its items to an expert.

Whether a trace is exported is known at its end: when its share is drawn (or the caller's `traceparent` says so), and
always when the request was slow, degraded or failed. So until then only ids and times are kept, which cost little, and
spans are made of them afterwards. OpenTelemetry's tracer makes spans where the time passes and decides at the
beginning; of its SDK only what comes after it is used: queue, encoding, export. Nothing of it is imported when off.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving.errors import SieveError
from serving.watch.record import RequestOutcome, RequestRecord

TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
SAMPLER, SAMPLER_ARG = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
PROTOCOL = "http/protobuf"


class TracingError(SieveError):
    """The settings of tracing make no sense."""


@dataclass(frozen=True, slots=True)
class TracingSettings:
    """`share` of the requests whose trace is exported in any case, 0 to 1."""

    share: float


def tracing_settings(variables: Mapping[str, str]) -> TracingSettings | None:
    """What OpenTelemetry's variables say, None when they name no place to send traces to; TracingError says why not.

    The exporter and its queue read theirs by themselves (headers, certificates, time limits, sizes).
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


@dataclass(slots=True)
class Trace:
    """One request's place in a trace. `parent_id`: the caller's span; `sampled`: exported whatever becomes of it."""

    trace_id: int
    span_id: int
    parent_id: int | None
    sampled: bool
    tracer: Tracer | None
    calls: list[CallSpan] = field(default_factory=list)
    """Calls to an expert that took items of this request."""


@dataclass(slots=True, eq=False)
class CallSpan:
    """One call to an expert, for the items of several requests. It lies in the trace of the first that is exported,
    and is linked to all of them.
    """

    traces: Sequence[Trace]
    size: int
    start_s: float
    span_id: int
    home: Trace | None
    end_s: float | None = None
    error: str | None = None

    @property
    def traceparent(self) -> str | None:
        """What the expert's process is told, where it is known that the call is exported."""
        return f"00-{self.home.trace_id:032x}-{self.span_id:016x}-01" if self.home else None

    def ended(self, end_s: float, error: str | None = None) -> None:
        """The expert has answered, or `error` says why it has not. Once."""
        self.end_s, self.error = end_s, error
        if self.home is not None and self.home.tracer is not None:
            self.home.tracer.export_call(self, self.home)

    def wanted(self, by: Trace) -> None:
        """The trace of one of its requests is exported: so is the call, now or at its end."""
        if self.home is None:
            self.home = by
            if self.end_s is not None and by.tracer is not None:
                by.tracer.export_call(self, by)


def call_of(traces: Sequence[Trace | None], size: int, start_s: float) -> CallSpan | None:
    """A call for requests with these traces, where any of them may be exported."""
    there = [trace for trace in traces if trace is not None and trace.tracer is not None]
    if not there:
        return None
    home = next((trace for trace in there if trace.sampled), None)
    call = CallSpan(there, size, start_s, _new_id(64), home)
    for trace in there:
        trace.calls.append(call)
    return call


def read_traceparent(header: str | None) -> tuple[int, int, bool] | None:
    """Trace id, span id and the sampled flag of a W3C `traceparent`; None when there is none, or none that counts."""
    match = TRACEPARENT.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    return (trace_id, span_id, bool(flags & 1)) if trace_id and span_id else None


def begin(header: str | None, tracer: Tracer | None, share: float = 0.0) -> Trace:
    """A request's trace: the caller's, or a new one."""
    got = read_traceparent(header)
    if got is not None:
        trace_id, parent_id, sampled = got
        return Trace(trace_id, _new_id(64), parent_id, sampled, tracer)
    return Trace(_new_id(128), _new_id(64), None, random.random() < share, tracer)


def _new_id(bits: int) -> int:
    return random.getrandbits(bits) or 1


class Tracer:
    """Makes spans of what has ended, and sends them to a collector from a thread of its own."""

    def __init__(self, settings: TracingSettings, service: str) -> None:
        from serving.watch.spans import Exporter

        self.share = settings.share
        self._export = Exporter(service).span

    def begin(self, header: str | None) -> Trace:
        """A request that came with this `traceparent` begins."""
        return begin(header, self, self.share)

    def ended(self, record: RequestRecord, outcome: RequestOutcome, status: int) -> None:
        """A request has its answer: export its trace where it is wanted."""
        trace = record.trace
        if trace is None or not (trace.sampled or outcome in ("degraded", "failed") or _slow(record)):
            return
        for call in trace.calls:
            call.wanted(by=trace)
        attributes: dict[str, Any] = {
            "http.request.method": "POST",
            "http.route": record.endpoint,
            "http.response.status_code": status,
            "sieve.request_id": record.request_id,
            "sieve.outcome": outcome,
            "sieve.stage": record.stage,
            "sieve.model": record.model,
            "sieve.items": len(record.outcomes),
            "sieve.escalated": sum(item.escalated for item in record.outcomes),
        }
        if record.degraded is not None:
            attributes["sieve.degraded"] = record.degraded
        if record.budget is not None:
            attributes["sieve.budget_ms"] = record.budget.budget_ms
        begin_s, end_s = record.start_s, record.start_s + record.total_ms / 1e3
        failed = "the service failed on this request" if outcome == "failed" else None
        name = f"POST {record.endpoint}"
        ids = (trace.trace_id, trace.span_id, trace.parent_id)
        self._export(name, *ids, begin_s, end_s, attributes, kind="SERVER", error=failed)
        self._parts(record, trace)

    def _parts(self, record: RequestRecord, trace: Trace) -> None:
        """A span for each part; the way to the expert and its own time are one, since only the call knows more."""
        took = dict(record.parts())
        asked_ms = took.pop("expert", 0.0)
        begin_s = record.start_s
        for part, took_ms in took.items():
            hop = part == "hop"
            end_s = begin_s + (took_ms + (asked_ms if hop else 0.0)) / 1e3
            links = [(call.home.trace_id, call.span_id) for call in trace.calls if call.home] if hop else []
            named = {"sieve.expert_ms": asked_ms} if hop else {}
            ids = (trace.trace_id, _new_id(64), trace.span_id)
            self._export("expert" if hop else part, *ids, begin_s, end_s, named, links)
            begin_s = end_s

    def export_call(self, call: CallSpan, home: Trace) -> None:
        """A call has ended that is part of an exported trace."""
        assert call.end_s is not None
        links = [(trace.trace_id, trace.span_id) for trace in call.traces]
        named = {"sieve.batch_size": call.size, "sieve.requests": len(call.traces)}
        ids = (home.trace_id, call.span_id, home.span_id)
        self._export("batch", *ids, call.start_s, call.end_s, named, links, kind="CLIENT", error=call.error)

    def ran(self, header: str | None, begin_s: float, end_s: float, size: int) -> None:
        """In an expert's process: a call with this `traceparent` was run."""
        got = read_traceparent(header)
        if got is None or not got[2]:
            return
        ids = (got[0], _new_id(64), got[1])
        self._export("run", *ids, begin_s, end_s, {"sieve.batch_size": size}, kind="SERVER")


def open_tracer(service: str, settings: TracingSettings | None) -> Tracer | None:
    """A tracer of the process `service`, where there are settings."""
    return Tracer(settings, service) if settings else None


def _slow(record: RequestRecord) -> bool:
    return record.budget is not None and record.total_ms > record.budget.budget_ms
