"""What Prometheus reads at /metrics of the service's own, beside what BentoML counts.

Made once in a process, inside the service: prometheus_client decides when it is first imported whether several
processes share their metrics, and BentoML tells it so only in the worker.
"""

from __future__ import annotations

from collections.abc import Callable

from serving.admission import Admission, Priority
from serving.breaker import State
from serving.drift import Drift

# Around the default budget of 50 ms, where it matters most.
LATENCY_BUCKETS_S = (
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.04,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    1.0,
)
BREAKER_STATES: dict[State, int] = {"closed": 0, "half-open": 1, "open": 2}


def batch_sizes() -> Callable[[int], None]:
    """A function that counts a batch of the expert in whose process it is made."""
    from prometheus_client import Histogram

    sizes = Histogram("sieve_expert_batch_size", "Items of one run of an expert", buckets=(1, 2, 4, 8, 16, 32))
    return sizes.observe


class Metrics:
    """All of them; every method takes what happened and sets what it says."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        def gauge(name: str, text: str, labels: tuple[str, ...] = ("modality",), mode: str = "mostrecent") -> Gauge:
            return Gauge(f"sieve_{name}", text, labels, multiprocess_mode=mode)  # type: ignore[arg-type]

        self._latency = Histogram(
            "sieve_latency_seconds", "From arrival to answer, in the server", ["endpoint"], buckets=LATENCY_BUCKETS_S
        )
        self._answers = Counter(
            "sieve_answers", "Items answered: by whom, and why the screen's stands", ["modality", "stage", "degraded"]
        )
        self._shed = Counter("sieve_shed", "Requests refused because of load", ["priority"])
        self._in_flight = gauge("in_flight", "Requests in flight", (), "livesum")
        self._limit = gauge("in_flight_limit", "How many requests may be in flight now", (), "livesum")
        self._breaker = gauge("breaker_state", "Circuit breaker of the expert: 0 closed, 1 half-open, 2 open")
        self._waiting = gauge("escalations_waiting", "Escalations that wait for a call to the expert", mode="livesum")
        self._psi = gauge("drift_psi", "Population stability index of the screen's confidences")
        self._share = gauge("drift_escalation_share", "Share of the last items that escalated")
        self._flag = gauge("drift_flag", "1 when the last items have left the band that the operating point states")
        self._items = gauge(
            "drift_items", "How many of the last items are looked at; with too few the flag says nothing"
        )

    def request(self, endpoint: str, took_ms: float, admission: Admission) -> None:
        """A request was answered."""
        self._latency.labels(endpoint).observe(took_ms / 1e3)
        self._in_flight.set(admission.in_flight)
        self._limit.set(admission.limit.value)

    def shed(self, priority: Priority) -> None:
        """A request was refused."""
        self._shed.labels(priority).inc()

    def answer(self, modality: str, stage: str, degraded: str | None) -> None:
        """An item was answered."""
        self._answers.labels(modality, stage, degraded or "no").inc()

    def expert(self, modality: str, state: State, waiting: int) -> None:
        """What stands before an expert."""
        self._breaker.labels(modality).set(BREAKER_STATES[state])
        self._waiting.labels(modality).set(waiting)

    def drift_of(self, modality: str) -> Callable[[Drift], None]:
        """A function that sets the drift gauges of `modality`."""

        def tell(drift: Drift) -> None:
            self._psi.labels(modality).set(drift.psi)
            self._share.labels(modality).set(drift.escalation_share)
            self._flag.labels(modality).set(1 if drift.drifted else 0)
            self._items.labels(modality).set(drift.n)

        return tell
