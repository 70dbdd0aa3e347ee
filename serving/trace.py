"""What a trace is: the ids of a request and of the calls that took its items to an expert.

Only ids and times are kept here. `serving.watch.tracing` makes spans of them once a request has ended.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Attributes = Mapping[str, str | float]
"""What a span says beside its name and times."""
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")


@dataclass(slots=True)
class Trace:
    """One request's place in a trace. `parent_id`: the caller's span; `sampled`: exported whatever becomes of it."""

    trace_id: int
    span_id: int
    parent_id: int | None
    sampled: bool
    calls: list[CallSpan] = field(default_factory=list)
    """Calls to an expert that took items of this request."""


@dataclass(slots=True, eq=False)
class CallSpan:
    """One call to an expert, for the items of several requests.

    It belongs to the trace of the first of these requests that is exported (`home`), and links to all of them. Times
    are in seconds of the monotonic clock; `end_s` is None while the call runs. `error` says why it failed.
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
        """The W3C header for the expert's process; None while no trace that is exported holds the call."""
        return f"00-{self.home.trace_id:032x}-{self.span_id:016x}-01" if self.home else None


def begin_trace(traceparent: str | None, *, share: float = 0.0) -> Trace:
    """The trace of a new request: the caller's, as its `traceparent` says, or a new one.

    `share` of the new ones are sampled, drawn at random.
    """
    got = read_traceparent(traceparent)
    if got is not None:
        trace_id, parent_id, sampled = got
        return Trace(trace_id, new_span_id(), parent_id, sampled)
    return Trace(_new_id(128), new_span_id(), None, random.random() < share)  # nosec B311 # no secret


def begin_call(traces: Sequence[Trace | None], size: int, start_s: float) -> CallSpan | None:
    """The span of a call with `size` items of requests with these traces; None when none of them has one."""
    there = [trace for trace in traces if trace is not None]
    if not there:
        return None
    home = next((trace for trace in there if trace.sampled), None)
    span = CallSpan(there, size, start_s, new_span_id(), home)
    for trace in there:
        trace.calls.append(span)
    return span


def read_traceparent(header: str | None) -> tuple[int, int, bool] | None:
    """Trace id, span id and the sampled flag of a W3C `traceparent`; None when it is missing or invalid."""
    match = TRACEPARENT.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in match.groups())
    return (trace_id, span_id, bool(flags & 1)) if trace_id and span_id else None


def new_span_id() -> int:
    """A random id of 64 bits, never 0."""
    return _new_id(64)


def _new_id(bits: int) -> int:
    return random.getrandbits(bits) or 1  # nosec B311 # no secret
