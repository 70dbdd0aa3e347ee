"""What is known of a service before it is driven: its reply to each candidate, sent alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loadtest.errors import UnreachableError
from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.credentials import NO_CREDENTIALS, Credentials
from loadtest.traffic.limit import TimeLimit
from loadtest.traffic.plan import Plan
from loadtest.traffic.reply import Reply
from loadtest.traffic.sample import Sample
from loadtest.traffic.workload import Mix, draw, image_samples, text_samples, with_hardness
from loadtest.verdict.parts import breakdown
from loadtest.verdict.percentiles import percentile
from loadtest.verdict.result import IdleFigures

FIRST, PROBES, MAX_PROBES = 10, 200, 1_000
TYPICAL = 2_000


@dataclass(frozen=True, slots=True)
class Known:
    """The samples with their hardness, and the reply to each when nothing queued."""

    samples: list[Sample]
    idle: list[Reply]

    @property
    def network_ms(self) -> float:
        """Median of the time outside the server's own clock."""
        outside = [o.wire_ms - o.server_ms for o in self.idle if o.answered and o.server_ms is not None]
        return max(0.0, percentile(outside, 0.5)) if outside else 0.0

    def typical(self, mix: Mix, seed: int) -> list[Reply]:
        """Answers from when nothing queued, drawn in the shares of `mix`."""
        of = dict(zip(map(id, self.samples), self.idle, strict=True))
        drawn = (of[id(sample)] for sample in draw(self.samples, mix, TYPICAL, seed))
        return [reply for reply in drawn if reply.answered]

    def figures(self, idle: Sequence[Reply]) -> IdleFigures:
        """Figures of `idle`, answers in the mix of the run."""
        hard = sum(sample.shape.endswith("hard") for sample in self.samples)
        return {
            "requests": len(self.idle),
            "p50_ms": round(percentile([reply.latency_ms for reply in idle], 0.5), 3),
            "network_ms": round(self.network_ms, 3),
            "hard_share": round(hard / len(self.samples), 4),
            "parts": breakdown(idle, self.network_ms),
        }


def look(plan: Plan, most: int | None = None) -> Known:
    """Get to know the service with `most` of what the plan can send; PROBES or MAX_PROBES without it.

    Raises UnreachableError, LimitError, and WorkloadError where the plan's files cannot be used.
    """
    # A hard share needs many hard items, which may be rare among the candidates.
    most = most or (PROBES if plan.mix.hard_share is None else MAX_PROBES)
    return get_to_know(plan.url, candidates(plan), plan.seed, most, credentials=plan.credentials, limit=plan.limit)


def candidates(plan: Plan) -> list[Sample]:
    """Everything that the plan can send; hardness is not known yet."""
    samples: list[Sample] = []
    if plan.mix.image_share < 1:
        samples += text_samples(plan.texts, plan.budget_ms, plan.seed, plan.way)
    if plan.mix.image_share > 0:
        samples += image_samples(plan.images, plan.budget_ms, plan.seed, plan.way)
    return samples


def get_to_know(
    url: str,
    samples: Sequence[Sample],
    seed: int,
    most: int = PROBES,
    *,
    credentials: Credentials = NO_CREDENTIALS,
    limit: TimeLimit | None = None,
) -> Known:
    """Send `most` of the candidates one by one, to learn which are hard and how long each part takes without a queue.

    Raises UnreachableError when none of the first is answered, and LimitError where `limit` is too short.
    """
    chosen = np.random.default_rng(seed).permutation(len(samples))[:most]
    kept = [samples[i] for i in sorted(chosen)]
    # The first requests open connections and fill caches, so they are sent twice.
    first = ask_one_by_one(url, kept[:FIRST], credentials=credentials, limit=limit)
    if not any(reply.answered for reply in first):
        got = f"status {first[0].status}" if first[0].status else "no reply"
        raise UnreachableError(f"{url} must answer requests, got {got}; start the service, or name its address")
    idle = ask_one_by_one(url, kept, credentials=credentials, limit=limit)
    return Known(with_hardness(kept, [reply.deferred if reply.stage else None for reply in idle]), idle)
