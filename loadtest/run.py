"""One load test: look at the service unhurried, warm it up, drive it, judge it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.pages.live import Live
from loadtest.traffic.arrivals import ArrivalsError, arrivals, lasting_s
from loadtest.traffic.client import ask_one_by_one, send_all
from loadtest.traffic.payloads import compare_payloads
from loadtest.traffic.workload import Encoding, Mix, Sample, draw, image_samples, text_samples, with_hardness
from loadtest.verdict.bottleneck import bottleneck
from loadtest.verdict.figures import breakdown, figures, percentile
from loadtest.verdict.objective import Objective, judge
from loadtest.verdict.outcome import Outcome

MAX_LAG_MS = 5.0
"""p99 of how late requests left; beyond it the run says more of the generator than of the service."""
FIRST, PROBES, MAX_PROBES = 10, 200, 1_000
TYPICAL = 2_000
PAYLOAD_IMAGES, PAYLOAD_ROUNDS = 10, 3


class UnreachableError(RuntimeError):
    """The service answers nothing at all; the text says what to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A load test as it is asked for. Times in the units of their names; `seed` decides texts, mix and arrivals."""

    url: str
    arrivals: str = "poisson:100"
    seconds: float = 60.0
    warm_up_s: float = 5.0
    texts: Path | None = None
    images: Path | None = None
    encoding: Encoding = "raw"
    mix: Mix = field(default_factory=Mix)
    budget_ms: float | None = 50.0
    timeout_s: float = 2.0
    seed: int = 1
    payloads: bool = False
    max_lag_ms: float = MAX_LAG_MS

    def as_dict(self) -> dict[str, Any]:
        """For JSON; files by their names alone, since a path is of one machine."""
        plain = asdict(self)
        names = {key: getattr(self, key) and getattr(self, key).name for key in ("texts", "images")}
        kind, _, rest = self.arrivals.partition(":")
        return plain | names | ({"arrivals": f"replay:{Path(rest).name}"} if kind == "replay" else {})


@dataclass(frozen=True, slots=True)
class Known:
    """The samples with what is known of them, and how the service answers when nothing queues."""

    samples: list[Sample]
    idle: list[Outcome]

    @property
    def network_ms(self) -> float:
        """Median of what passes outside the server's own clock."""
        outside = [o.wire_ms - o.server_ms for o in self.idle if o.answered and o.server_ms is not None]
        return max(0.0, percentile(outside, 0.5)) if outside else 0.0

    def typical(self, mix: Mix, seed: int) -> list[Outcome]:
        """Answers from where nothing queued, in the shares of `mix`."""
        of = dict(zip(map(id, self.samples), self.idle, strict=True))
        drawn = (of[id(sample)] for sample in draw(self.samples, mix, TYPICAL, seed))
        return [outcome for outcome in drawn if outcome.answered]


def candidates(plan: Plan) -> list[Sample]:
    """What the plan can send, before anything is asked."""
    samples: list[Sample] = []
    if plan.mix.image_share < 1:
        samples += text_samples(plan.texts, plan.budget_ms, plan.seed)
    if plan.mix.image_share > 0:
        samples += image_samples(plan.images, plan.encoding, plan.budget_ms, plan.seed)
    return samples


def get_to_know(url: str, samples: Sequence[Sample], seed: int, most: int = PROBES) -> Known:
    """Ask `most` of the candidates one by one, which tells who is hard, and what each part takes where nothing queues.

    Raises UnreachableError when not one is answered.
    """
    chosen = np.random.default_rng(seed).permutation(len(samples))[:most]
    kept = [samples[i] for i in sorted(chosen)]
    # The first requests open the connection and fill caches.
    first = ask_one_by_one(url, kept[:FIRST])
    if not any(outcome.answered for outcome in first):
        got = f"status {first[0].status}" if first[0].status else "no reply"
        raise UnreachableError(f"{url} must answer requests, got {got}; start the service, or name its address")
    idle = ask_one_by_one(url, kept)
    return Known(with_hardness(kept, [outcome.deferred if outcome.stage else None for outcome in idle]), idle)


def look(plan: Plan, most: int | None = None) -> Known:
    """What the plan can send, got to know: `most` of it."""
    # Where few are hard, those are worth looking for: a share of them made of one text would say little.
    most = most or (PROBES if plan.mix.hard_share is None else MAX_PROBES)
    return get_to_know(plan.url, candidates(plan), plan.seed, most)


def run(plan: Plan, objective: Objective) -> tuple[dict[str, Any], list[Outcome]]:
    """Carry out a plan: the result for JSON, and every outcome."""
    known = look(plan)
    if plan.warm_up_s:
        drive(plan, known, plan.warm_up_s, seed=plan.seed + 1, title="warm-up")
    begin = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    outcomes, seconds = drive(plan, known, plan.seconds, seed=plan.seed, title="measuring")
    idle = known.typical(plan.mix, plan.seed)
    result = {"began": begin, "plan": plan.as_dict(), "idle": idle_figures(known, idle)}
    result |= measured(outcomes, seconds, objective, known, idle, plan.max_lag_ms)
    if plan.payloads:
        images = [sample.body for sample in image_samples(plan.images, "raw", None, plan.seed)[:PAYLOAD_IMAGES]]
        result["payloads"] = compare_payloads(plan.url, images, rounds=PAYLOAD_ROUNDS)
    return result, outcomes


def drive(plan: Plan, known: Known, seconds: float, *, seed: int, title: str) -> tuple[list[Outcome], float]:
    """Send the plan's arrivals of so many seconds; the outcomes in order of their due times, and how many seconds those
    are: fewer where a replayed file ends before.
    """
    due_s = arrivals(plan.arrivals, seconds, seed)
    if not len(due_s):
        raise ArrivalsError(f"{plan.arrivals} has no request in {seconds:g} s; ask for more of them, or for longer")
    samples = draw(known.samples, plan.mix, len(due_s), seed)
    with Live(title, len(due_s)) as live:
        outcomes = send_all(plan.url, samples, due_s, timeout_s=plan.timeout_s, observe=live.observe)
    return sorted(outcomes, key=lambda outcome: outcome.due_s), lasting_s(plan.arrivals, due_s, seconds)


def measured(
    outcomes: Sequence[Outcome],
    seconds: float,
    objective: Objective,
    known: Known,
    idle: Sequence[Outcome],
    max_lag_ms: float = MAX_LAG_MS,
) -> dict[str, Any]:
    """Figures, validity, objective and bottleneck of a run; `idle`: answers from where nothing queued."""
    found = figures(outcomes, seconds, objective.deadline_ms, known.network_ms)
    rows = judge(found, objective)
    lag_ms = percentile([outcome.lag_ms for outcome in outcomes], 0.99)
    valid = bool(outcomes) and lag_ms <= max_lag_ms
    return {
        "valid": valid,
        "generator_lag_p99_ms": round(lag_ms, 3),
        "generator_lag_limit_ms": max_lag_ms,
        "figures": found,
        "objective": rows,
        "passed": valid and all(row["holds"] for row in rows),
        "bottleneck": bottleneck(found, breakdown(idle, known.network_ms)),
    }


def idle_figures(known: Known, idle: Sequence[Outcome]) -> dict[str, Any]:
    """How the service answers one by one, with the mix of the run."""
    return {
        "requests": len(known.idle),
        "p50_ms": round(percentile([o.latency_ms for o in idle], 0.5), 3),
        "network_ms": round(known.network_ms, 3),
        "hard_share": round(sum(s.shape.endswith("hard") for s in known.samples) / len(known.samples), 4),
        "parts": breakdown(idle, known.network_ms),
    }
