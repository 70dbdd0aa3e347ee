"""Declares the metrics of audits, as `serving.watch.metrics` does the others.

The counters are raw sums, so that they add up over machines; each gauge is of the state that the processes of one
machine share.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from serving.audit.auditor import Watched
from serving.audit.betting import WEIGHTS
from serving.audit.state import AGREES, Told, Verdict

VERDICTS: dict[Verdict, int] = {"broken": -1, "undecided": 0, "holds": 1}
OUTCOMES = ("agrees", "differs")


class Number(Protocol):
    """A gauge of prometheus_client."""

    def set(self, value: float, /) -> None: ...


class AuditMetrics:
    """What audits count and know, by the labels `own` of their cascades."""

    def __init__(self, own: tuple[str, ...]) -> None:
        from prometheus_client import Counter, Gauge

        def gauge(name: str, text: str, mode: str) -> Gauge:
            return Gauge(f"sieve_{name}", text, own, multiprocess_mode=mode)  # type: ignore[arg-type]  # a literal

        self._items = Counter("sieve_audit_items", "Items answered since there are audits", own)
        self._trusted = Counter("sieve_audit_trusted", "Items that the screen was trusted on", own)
        self._audited = Counter(
            "sieve_audited",
            "Trusted items that the expert was asked about afterwards, by what each stands for",
            (*own, "weight", "outcome"),
        )
        self._dropped = Counter("sieve_audit_dropped", "Drawn items that the expert could not be asked about", own)
        self._state = gauge("promise_state", "What audits say of it: 1 holds, 0 undecided, -1 broken", "livemin")
        self._alpha = gauge("promise_alpha", "The share of other answers than the expert's that is promised", "livemax")
        self._bound = gauge("audit_bound", "A bound above that share, since the last change", "livemax")
        self._window = gauge("audit_window_bound", "The same of the last audited items", "livemax")
        self._share = gauge("audit_share", "The share of trusted items that is drawn", "livemin")
        self._threshold = gauge("threshold", "The confidence below which items defer", "livemax")
        self._raises = gauge("threshold_raises", "How often it has risen", "livemax")
        self._away = gauge("audit_broker_away", "1 while the broker of audit_url cannot be reached", "livemax")
        self._unsaved = gauge("audit_unsaved", "1 while the state of the audit cannot be saved", "livemax")

    def reporter(self, of: tuple[str, ...], alpha: float) -> Callable[[Told, Watched], None]:
        """A function that reports the audit of the cascade with these values of its labels, which promises `alpha`."""
        audited = {
            (level, outcome): self._audited.labels(*of, str(weight), outcome)
            for level, weight in enumerate(WEIGHTS)
            for outcome in OUTCOMES
        }
        items, trusted, dropped = (each.labels(*of) for each in (self._items, self._trusted, self._dropped))
        self._alpha.labels(*of).set(alpha)

        def tell(told: Told, watched: Watched) -> None:
            items.inc(told.items)
            trusted.inc(told.trusted)
            results, lost = told.counts()
            dropped.inc(lost)
            for (level, place), count in results.items():
                audited[level, OUTCOMES[place != AGREES]].inc(count)
            values: tuple[tuple[Number, float], ...] = (
                (self._state.labels(*of), VERDICTS[watched.promise]),
                (self._bound.labels(*of), watched.bound),
                (self._window.labels(*of), watched.window_bound),
                (self._share.labels(*of), watched.share),
                (self._threshold.labels(*of), watched.threshold),
                (self._raises.labels(*of), len(watched.raised)),
                (self._unsaved.labels(*of), 0 if watched.saved else 1),
            )
            for gauge, value in values:
                gauge.set(value)
            if watched.broker is not None:
                self._away.labels(*of).set(watched.broker == "away")

        return tell
