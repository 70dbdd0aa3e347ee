"""An autoscaler in virtual time: Prometheus scrapes the pods, a query says what they need, and the HPA follows it.

The loop takes minutes, while an expert settles within its budget. So what a pod does at a load is simulated beforehand
(`loadtest.queueing.expert`), and only the loop is played, second by second. The rules of the loop are those of
Kubernetes' HorizontalPodAutoscaler (v2) for an `AverageValue`, and of Prometheus's `rate`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from loadtest.queueing.expert import Served

TOLERANCE = 0.1
"""The HPA leaves the number of pods alone while a value is within this share of its target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What Prometheus knows of the pods that it scrapes, per second.

    `work` and `busy` as in `Served`, for all pods together; `answered` and `missed` are escalations of all APIs.
    """

    pods: int
    work: float
    busy: float
    answered: float
    missed: float


@dataclass(frozen=True, slots=True)
class Trigger:
    """A query, and its target for each pod: an `AverageValue`."""

    query: Callable[[Rates], float]
    target: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The numbers of a ScaledObject, and those of the cluster around it.

    The number of pods may at most grow by `up_share` within `up_s`, and fall by `down_pods` within `down_s`. It falls
    to the highest number that was wanted in the last `stable_s`. A pod answers `start_s` after it was asked for.
    """

    lowest: int
    highest: int
    up_share: float
    up_s: float
    down_pods: int
    down_s: float
    stable_s: float
    window_s: float = 60.0
    scrape_s: float = 15.0
    sync_s: float = 15.0
    start_s: float = 45.0


def offered_work(rates: Rates) -> float:
    """What the experts would have worked, had they answered everything: the rule `sieve:expert_work_offered:rate1m`."""
    asked = rates.answered + rates.missed
    return rates.work * min(10.0, max(1.0, asked / max(rates.answered, 0.01)))


def pods_for_deadlines(rates: Rates) -> float:
    """Pods that hold or lower the share of missed deadlines: the rule `sieve:expert_pods_for_deadlines`.

    A quarter more while more than 5 % are missed, as many as now above 1 %. It says nothing where pods have little to
    do, since more of them would not help, nor where they are nearly full, which `offered_work` measures better.
    """
    share, each = rates.missed / max(rates.answered + rates.missed, 0.01), rates.work / rates.pods
    return rates.pods * ((share > 0.01) + 0.25 * (share > 0.05)) * (each > 0.2) * (each < 0.7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One second: the load, the pods that are asked for and those that answer, and the share that missed its budget."""

    at_s: float
    offered_per_s: float
    wanted: int
    ready: int
    missed_share: float


@dataclass(slots=True)
class _Pod:
    ready_s: float
    work: float = 0.0
    busy: float = 0.0
    samples: deque[tuple[float, float, float]] = field(default_factory=deque)


class Curve:
    """What one pod does at a load per second, between the loads that were simulated."""

    def __init__(self, loads: Sequence[float], served: Sequence[Served]) -> None:
        self._loads = loads
        self._values = {name: [getattr(one, name) for one in served] for name in ("answered_per_s", "work", "busy")}

    def at(self, load: float) -> Served:
        """At `load`, at most the highest that was simulated."""
        found = {name: float(np.interp(load, self._loads, values)) for name, values in self._values.items()}
        return Served(missed_per_s=max(0.0, load - found["answered_per_s"]), **found)


def scale(
    curve: Curve, offered: Callable[[float], float], policy: Policy, triggers: Sequence[Trigger], seconds: int
) -> list[Moment]:
    """Play `seconds` of the load `offered` (per second, at a time in seconds), which the ready pods share equally."""
    return _Loop(curve, policy, triggers).play(offered, seconds)


class _Loop:
    def __init__(self, curve: Curve, policy: Policy, triggers: Sequence[Trigger]) -> None:
        self._curve, self._policy, self._triggers = curve, policy, triggers
        self._pods = [_Pod(ready_s=-math.inf) for _ in range(policy.lowest)]
        self._answered = self._missed = 0.0
        self._samples: deque[tuple[float, float, float]] = deque()
        self._recommended: deque[tuple[float, int]] = deque()
        self._changes: deque[tuple[float, int]] = deque()

    def play(self, offered: Callable[[float], float], seconds: int) -> list[Moment]:
        moments = []
        for at_s in range(seconds):
            load = offered(at_s)
            ready = [pod for pod in self._pods if pod.ready_s <= at_s]
            served = self._curve.at(load / len(ready))
            for pod in ready:
                pod.work, pod.busy = pod.work + served.work, pod.busy + served.busy
            self._answered += served.answered_per_s * len(ready)
            self._missed += served.missed_per_s * len(ready)
            if at_s % self._policy.scrape_s == 0:
                self._scrape(at_s, ready)
            if at_s % self._policy.sync_s == 0:
                self._sync(at_s)
            share = served.missed_per_s * len(ready) / load if load else 0.0
            moments.append(
                Moment(
                    at_s=at_s,
                    offered_per_s=load,
                    wanted=len(self._pods),
                    ready=len(ready),
                    missed_share=share,
                )
            )
        return moments

    def _scrape(self, at_s: float, ready: Sequence[_Pod]) -> None:
        for pod in ready:
            pod.samples.append((at_s, pod.work, pod.busy))
        self._samples.append((at_s, self._answered, self._missed))

    def _rates(self, at_s: float) -> Rates:
        window_s = self._policy.window_s
        scraped = [pod for pod in self._pods if pod.samples]
        return Rates(
            pods=len(scraped),
            work=sum(rate(pod.samples, 1, at_s, window_s) for pod in scraped),
            busy=sum(rate(pod.samples, 2, at_s, window_s) for pod in scraped),
            answered=rate(self._samples, 1, at_s, window_s),
            missed=rate(self._samples, 2, at_s, window_s),
        )

    def _sync(self, at_s: float) -> None:
        """What the HPA does each `sync_s`."""
        now, policy, rates = len(self._pods), self._policy, self._rates(at_s)
        wanted = max(_wanted(trigger.query(rates), trigger.target, now) for trigger in self._triggers)
        self._recommended.append((at_s, wanted))
        while self._recommended[0][0] < at_s - policy.stable_s:
            self._recommended.popleft()
        if wanted < now:
            wanted = min(now, max(number for _, number in self._recommended))
        wanted = min(policy.highest, max(policy.lowest, wanted))
        if wanted > now:
            start = now - self._changed(at_s - policy.up_s, up=True)
            wanted = min(wanted, max(now, math.ceil(start * (1 + policy.up_share))))
        elif wanted < now:
            start = now + self._changed(at_s - policy.down_s, up=False)
            wanted = max(wanted, min(now, start - policy.down_pods))
        if wanted != now:
            self._changes.append((at_s, wanted - now))
        self._pods += [_Pod(ready_s=at_s + policy.start_s) for _ in range(wanted - now)]
        # Kubernetes stops first the pods that are not ready, then the youngest.
        del self._pods[wanted:]

    def _changed(self, since_s: float, *, up: bool) -> int:
        """How many pods were added, or taken away, since then."""
        return sum(abs(by) for when, by in self._changes if when > since_s and (by > 0) == up)


def _wanted(value: float, target: float, now: int) -> int:
    """The number of pods that the HPA wants for an `AverageValue`."""
    return now if abs(value / (target * now) - 1) <= TOLERANCE else math.ceil(value / target)


def rate(samples: Sequence[tuple[float, ...]], column: int, at_s: float, window_s: float) -> float:
    """Prometheus's rate of a counter; each sample is a time and values, of which `column` is meant.

    It takes the first and the last sample in the window and extrapolates to the ends of the window, but for no more
    than half an interval where the series begins or ends inside it.
    """
    inside = [sample for sample in samples if at_s - window_s <= sample[0] <= at_s]
    if len(inside) < 2:
        return 0.0
    first, last = inside[0], inside[-1]
    covered_s = last[0] - first[0]
    between_s = covered_s / (len(inside) - 1)
    before_s, after_s = first[0] - (at_s - window_s), at_s - last[0]
    before_s, after_s = (between_s / 2 if gap >= 1.1 * between_s else gap for gap in (before_s, after_s))
    increase = last[column] - first[column]
    return increase * (covered_s + before_s + after_s) / covered_s / window_s
