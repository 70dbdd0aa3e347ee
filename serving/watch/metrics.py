"""Declares every metric that Prometheus reads at /metrics. Each label has few values, all known beforehand.

Make these classes once in a process, inside the service. prometheus_client decides at its first import whether several
processes share their metrics, by a variable that BentoML sets for its workers. So it is imported where metrics are made
and not at the top of this file. Each gauge has a mode for several processes: counts are added up over the processes
that are alive, and of a state the worst applies.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from time import process_time
from typing import Literal, Protocol

from serving.cascade.drift import Drift
from serving.cascade.kept import KeptAnswers
from serving.cascade.modality import Modality
from serving.errors import ShedReason
from serving.expert.queue import Escalations
from serving.load.admission import Admission, Priority
from serving.load.breaker import State
from serving.load.memory import MemoryLimit
from serving.watch.audit_metrics import AuditMetrics
from serving.watch.buckets import BUDGET_LEFT_BUCKETS_S, LATENCY_BUCKETS_S, PART_BUCKETS_S
from serving.watch.exposition import exposition
from serving.watch.lag import LoopLag
from serving.watch.model_info import OF_ONE, OF_SEVERAL, ModelInfo
from serving.watch.record import NONE, RequestOutcome, RequestRecord
from serving.watch.tally import Counts, Tallies

BREAKER_STATES: dict[State, int] = {"closed": 0, "half-open": 1, "open": 2}
FLUSH_S = 0.5
# A model leaves little of the caches to the code that runs after it, so counting one request after each costs more.
COUNTED_TOGETHER = 32

GaugeMode = Literal["livesum", "livemax", "livemin", "livemostrecent"]
"""How the values of several processes become one."""


class Named(Protocol):
    """A cascade, as far as metrics tell it from others: the kind of its input, text or image, and its name."""

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...


class Metrics:
    """The metrics of the API's process. `folder` is the one that the processes share, None for one process alone.

    `several`: whether there are several cascades for one kind of input.
    """

    def __init__(self, folder: Path | None = None, *, several: bool = False) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        own = self._own = OF_SEVERAL if several else OF_ONE

        def gauge(name: str, text: str, mode: GaugeMode, labels: tuple[str, ...] = own) -> Gauge:
            return Gauge(f"sieve_{name}", text, labels, multiprocess_mode=mode)

        def histogram(name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Tallies:
            return Tallies(Histogram(f"sieve_{name}", text, labels, buckets=buckets))

        def counter(name: str, text: str, *labels: str) -> Counts:
            return Counts(Counter(f"sieve_{name}", text, labels))

        self._folder = folder
        self.lag = LoopLag("api")
        self._requests = counter("requests", "Requests that ended", "endpoint", "outcome", "stage", "model")
        self._answers = counter(
            "answers", "Items answered: by whom, and why the screen's stands", *own, "stage", "degraded"
        )
        self._truncated = counter("truncated", "Texts that were too long to be read whole", *own)
        self._equal = counter("equal", "Items whose answer was that to an equal item: kept or in flight", *own, "how")
        self._shed = counter("shed", "Requests refused because of load", "priority", "reason")
        self._feedback = counter(
            "feedback", "Answers whose right label came later, and whether each stage had it", *own, "stage", "right"
        )
        self._keys = counter("key_requests", "Requests by the name of their key: let in, or why not", "key", "outcome")
        self._latency = histogram(
            "latency_seconds", "From arrival to answer, in the server", ("endpoint",), LATENCY_BUCKETS_S
        )
        self._parts = histogram("part_seconds", "Parts of that time", ("part",), PART_BUCKETS_S)
        self._budget_left = histogram(
            "budget_left_seconds", "What was left of the budget", ("endpoint",), BUDGET_LEFT_BUCKETS_S
        )
        self._tallied = (
            self._requests,
            self._answers,
            self._truncated,
            self._equal,
            self._feedback,
            self._shed,
            self._keys,
            self._latency,
            self._parts,
            self._budget_left,
        )
        self._cpu, self._cpu_s = Counter("sieve_cpu_seconds", "Processor time of the API's processes"), process_time()
        self._in_flight = gauge("in_flight", "Requests in flight", "livesum", ())
        self._limit = gauge("in_flight_limit", "How many requests may be in flight", "livesum", ())
        self._upload_bytes = gauge("upload_bytes", "Memory of large bodies and of images at work", "livesum", ())
        self._upload_limit = gauge("upload_limit_bytes", "How much that may be", "livesum", ())
        self._cache_bytes = gauge("cache_bytes", "Memory of kept answers", "livesum", ())
        self._cache_limit = gauge("cache_limit_bytes", "How much that may be", "livesum", ())
        self._ahead = gauge("work_ahead_seconds", "Work that waits for the event loop", "livemax", ())
        self._breaker = gauge("breaker_state", "The expert's circuit breaker: 0 closed, 1 half-open, 2 open", "livemax")
        self._waiting = gauge("escalations_waiting", "Escalations that wait for a call to the expert", "livesum")
        self._psi = gauge("drift_psi", "Population stability index of the screen's confidences", "livemax")
        self._share = gauge("drift_escalation_share", "Share of the last items that escalated", "livemostrecent")
        self._flag = gauge(
            "drift_flag", "1 when the last items have left the band that the operating point states", "livemax"
        )
        self._items = gauge(
            "drift_items",
            "How many of the last items are looked at; with too few the flag says nothing",
            "livemostrecent",
        )
        self._promise = gauge("promise_applies", "1 when the operating point's promise applies to what runs", "livemin")
        self._models, self.audit = ModelInfo(own), AuditMetrics(own)
        self._declared: dict[tuple[str, ...], dict[str, str]] = {}
        self._admission: Admission | None = None
        self._memory: MemoryLimit | None = None
        self._kept: KeptAnswers | None = None
        self._experts: dict[tuple[str, ...], Escalations] = {}
        self._due = False
        self._ended: list[tuple[RequestRecord, RequestOutcome]] = []

    def watch_admission(self, admission: Admission) -> None:
        """Report from now on how many requests are in flight, and their limit."""
        self._admission = admission

    def watch_memory(self, memory: MemoryLimit) -> None:
        """Report from now on what uploads hold, and how much that may be."""
        self._memory = memory

    def watch_kept(self, kept: KeptAnswers) -> None:
        """Report from now on what the answers take that are kept for equal requests, and how much that may be."""
        self._kept = kept

    def watch_modality(self, modality: Modality, before: Modality | None = None) -> None:
        """Report from now on which screen answers, the expert's breaker and how many escalations wait.

        `before` is the version that it takes the place of.
        """
        own = self.of(modality)
        self._experts[own] = modality.escalations
        if before is not None:
            self._models.gone(own, "screen", model=before.screen_tag, **before.screen_info)
        holds = not modality.golden.against
        self._models.serves(own, "screen", holds=holds, model=modality.screen_tag, **modality.screen_info)
        if before is not None:
            modality.tell_drift()
        self.flush()

    def ended(self, record: RequestRecord, outcome: RequestOutcome) -> None:
        """Count a request that was answered, soon."""
        self._ended.append((record, outcome))
        if len(self._ended) >= COUNTED_TOGETHER:
            self._count_ended()
        self.flush_soon()

    def _count_ended(self) -> None:
        ended, self._ended = self._ended, []  # first: one that cannot be counted must not be tried again
        for record, outcome in ended:
            self._count(record, outcome)

    def _count(self, record: RequestRecord, outcome: RequestOutcome) -> None:
        self._requests.add(record.endpoint, outcome, record.stage, record.model)
        if outcome in ("ok", "degraded"):
            self._latency.observe(record.timings.total_ms / 1e3, record.endpoint)
            for part, took_ms in record.timings.parts():
                self._parts.observe(took_ms / 1e3, part)
            if record.budget is not None:
                left_ms = max(0.0, record.budget.budget_ms - record.timings.total_ms)
                self._budget_left.observe(left_ms / 1e3, record.endpoint)
        if record.modality is not None:
            own = self.of(record.modality)
            for item in record.answers:
                self._answers.add(*own, item.stage, item.degraded or "no")
                if item.cached:
                    self._equal.add(*own, item.cached)
            if record.truncated:
                self._truncated.add(*own, count=record.truncated)

    def refused(self, endpoint: str) -> None:
        """Count a request that was refused before it was read."""
        self._requests.add(endpoint, "shed", NONE, NONE)
        self.flush_soon()

    def shed(self, priority: Priority, reason: ShedReason) -> None:
        """Count a request that was refused because of load."""
        self._shed.add(priority, reason)

    def came(self, key: str, outcome: str) -> None:
        """Count a request by the name of the key that it brought, and by whether it was let in."""
        self._keys.add(key, outcome)
        self.flush_soon()

    def told(self, cascade: Named, right: Mapping[str, bool | None]) -> None:
        """Count the right label of an answer, and for each stage whether it had said so; None where that is unknown."""
        for stage, said in right.items():
            if said is not None:
                self._feedback.add(*self.of(cascade), stage, "yes" if said else "no")
        self.flush_soon()

    def flush_soon(self) -> None:
        """Schedule a flush, unless one is due; it takes along what is counted until then."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(FLUSH_S, self._flush_and_reschedule)

    def flush(self) -> None:
        """Hand what was counted to prometheus_client, and set the gauges of this moment."""
        self.lag.flush()
        self._count_ended()
        for tallied in self._tallied:
            tallied.flush()
        cpu_s = process_time()
        self._cpu.inc(cpu_s - self._cpu_s)
        self._cpu_s = cpu_s
        if self._memory is not None:
            self._upload_bytes.set(self._memory.held_bytes)
            self._upload_limit.set(self._memory.capacity)
        if self._kept is not None:
            self._cache_bytes.set(self._kept.held_bytes)
            self._cache_limit.set(self._kept.limit_bytes)
        now = time.monotonic()
        if self._admission is not None:
            self._in_flight.set(self._admission.in_flight)
            self._limit.set(self._admission.max_in_flight)
            self._ahead.set(self._admission.turns.ahead_ms(now) / 1e3)
        for own, escalations in self._experts.items():
            self._breaker.labels(*own).set(BREAKER_STATES[escalations.breaker.state(now)])
            self._waiting.labels(*own).set(escalations.waiting)

    def exposition(self) -> tuple[bytes, str]:
        """What was counted until the last flush, in Prometheus's text format, and its content type.

        The counts of other processes may be half a second old. Any thread may call it.
        """
        return exposition(self._folder)

    def promise_applies(self, cascade: Named, applies: bool) -> None:
        """Report from now on whether the promise of a cascade applies to what runs."""
        self._promise.labels(*self.of(cascade)).set(1 if applies else 0)

    def drift_reporter(self, cascade: Named) -> Callable[[Drift], None]:
        """A function that sets the drift gauges of a cascade."""
        own = self.of(cascade)

        def tell(drift: Drift) -> None:
            self._psi.labels(*own).set(drift.psi)
            self._share.labels(*own).set(drift.escalation_share)
            self._flag.labels(*own).set(1 if drift.drifted else 0)
            self._items.labels(*own).set(drift.n)

        return tell

    def expert_reporter(self, cascade: Named) -> Callable[..., None]:
        """A function that reports which expert another server runs, and whether its golden items hold there."""
        own = self.of(cascade)

        def tell(holds: bool, **info: str) -> None:
            if own in self._declared and self._declared[own] != info:
                self._models.gone(own, "expert", **self._declared[own])
            self._declared[own] = info
            self._models.serves(own, "expert", holds=holds, **info)

        return tell

    def of(self, cascade: Named) -> tuple[str, ...]:
        """The values of the labels of a cascade."""
        return (cascade.kind, cascade.name) if len(self._own) > 1 else (cascade.kind,)

    def _flush_and_reschedule(self) -> None:
        self._due = False  # first: a flush that fails must not be the last one
        self.flush()
        now = time.monotonic()
        busy = self._admission is not None and self._admission.in_flight > 0
        # An open breaker becomes half-open as time passes, without any request.
        if busy or any(escalations.breaker.state(now) == "open" for escalations in self._experts.values()):
            self.flush_soon()
