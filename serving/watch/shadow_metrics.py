"""Declares the metrics of a shadow; a process without one has none of them. See `serving.watch.metrics`."""

from __future__ import annotations

from serving.shadow.counts import ENDED, Compared, Counts
from serving.watch.buckets import LATENCY_BUCKETS_S

LABELS = ("modality", "cascade", "shadow")
VERDICTS = {"worse": -1, "undecided": 0, "no worse": 1}


class ShadowMetrics:
    """The metrics of all shadows of this process."""

    def __init__(self) -> None:
        from prometheus_client import Counter, Gauge, Histogram

        self._items = Counter(
            "sieve_shadow_items", "Drawn items by how the shadow compares with what is served", (*LABELS, "outcome")
        )
        self._escalated = Counter("sieve_shadow_escalated", "Of them, those that asked an expert", (*LABELS, "side"))
        self._model_s = Counter("sieve_shadow_model_seconds", "What single items took in models", (*LABELS, "side"))
        self._took_s = Histogram(
            "sieve_shadow_seconds",
            "What single items took from content to label",
            (*LABELS, "side"),
            buckets=LATENCY_BUCKETS_S,
        )
        self._bound = Gauge(
            "sieve_shadow_difference",
            "Share of items that the shadow answers better, less those that it answers worse: bounds",
            (*LABELS, "bound"),
            multiprocess_mode="livemostrecent",
        )
        self._verdict = Gauge(
            "sieve_shadow_verdict",
            "Of the shadow: 1 no worse, 0 undecided, -1 worse",
            LABELS,
            multiprocess_mode="livemostrecent",
        )

        self._waiting_s = Gauge(
            "sieve_shadow_waiting_seconds",
            "How long the item that is being compared has waited",
            LABELS,
            multiprocess_mode="livemax",
        )

    def reporter(self, kind: str, cascade: str, shadow: str) -> ShadowReporter:
        """What reports of one shadow of one cascade."""
        return ShadowReporter(self, (kind, cascade, shadow))


class ShadowReporter:
    """Reports of one shadow."""

    def __init__(self, metrics: ShadowMetrics, own: tuple[str, ...]) -> None:
        self._metrics, self._own = metrics, own

    def took(self, served_s: float, shadow_s: float) -> None:
        """Seconds of one item in both cascades."""
        for side, seconds in (("served", served_s), ("shadow", shadow_s)):
            self._metrics._took_s.labels(*self._own, side).observe(seconds)

    def waits(self, seconds: float) -> None:
        """How long the item in hand has been there."""
        self._metrics._waiting_s.labels(*self._own).set(seconds)

    def counted(self, new: Counts, compared: Compared) -> None:
        """What this process has counted since the last time, and what all processes know together."""
        metrics, own = self._metrics, self._own
        for outcome in ENDED:
            metrics._items.labels(*own, outcome).inc(new.outcomes[outcome])
        escalated = {"served": new.both + new.only_served, "shadow": new.both + new.only_shadow}
        model_ms = {"served": new.model_ms.served, "shadow": new.model_ms.shadow}
        for side in ("served", "shadow"):
            metrics._escalated.labels(*own, side).inc(escalated[side])
            metrics._model_s.labels(*own, side).inc(max(0.0, model_ms[side]) / 1e3)
        for bound, value in (("low", compared.difference.low), ("high", compared.difference.high)):
            metrics._bound.labels(*own, bound).set(value)
        metrics._verdict.labels(*own).set(VERDICTS[compared.verdict])
