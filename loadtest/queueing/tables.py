"""The tables of a service for the simulation, measured by HTTP alone."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson

from loadtest.errors import UnreachableError
from loadtest.measuring.known import MAX_PROBES, Known, candidates, look
from loadtest.queueing.simulation import Item, Tables
from loadtest.traffic.client import ask_one_by_one, closed_loop
from loadtest.traffic.plan import Plan
from loadtest.traffic.reply import Reply
from loadtest.traffic.sample import Sample
from loadtest.traffic.workload import Mix, draw
from loadtest.verdict.parts import API_PARTS
from loadtest.verdict.percentiles import percentile

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
BATCH_ROUNDS = 7
ROUNDS, RESTED_ROUNDS, REST_S = 5, 3, 0.008
DRAWN = 4_000
HURRIED_MS, PATIENT_MS = 0.01, 1_000
SATURATION_S, CONNECTIONS = 4.0, 16


@dataclass(frozen=True, slots=True)
class Measured:
    """The tables of a service for the mix of the plan, and what they were measured with."""

    plan: Plan
    known: Known
    tables: Tables

    @property
    def escalation_share(self) -> float:
        """Share of the plan's requests that the screen escalates."""
        return sum(item.expert_ms is not None for item in self.tables.items) / len(self.tables.items)


def drawn(known: Known, items: Sequence[Item], mix: Mix, seed: int) -> list[Item]:
    """Draw DRAWN items in the shares of a mix; `items` are those of the known samples, in their order."""
    of = dict(zip(map(id, known.samples), items, strict=True))
    return [of[id(sample)] for sample in draw(known.samples, mix, DRAWN, seed)]


def measure(plan: Plan, workers: int) -> Measured:
    """Measure the tables of a service that has so many API `workers`, by HTTP alone.

    An API process's time for a request is what the server reports in its parts, plus the work around them, which shows
    only at saturation. The expert is timed after pauses, as it works where few requests escalate; without pauses its
    caches would be warm. Raises UnreachableError, and WorkloadError where the mix cannot be had.
    """
    known = look(plan, MAX_PROBES)
    draw(known.samples, plan.mix, 1, plan.seed)  # an impossible mix fails here, before minutes are spent
    in_a_row = [
        known.idle,
        *(ask_one_by_one(plan.url, known.samples, credentials=plan.credentials) for _ in range(ROUNDS - 1)),
    ]
    rested = [
        ask_one_by_one(plan.url, known.samples, mean_pause_s=REST_S, seed=number, credentials=plan.credentials)
        for number in range(RESTED_ROUNDS)
    ]
    stated_ms = _medians(in_a_row, _api_ms)
    if any(map(math.isnan, stated_ms)):
        raise UnreachableError(
            f"{plan.url} must answer each request when it is asked alone, got none for some; look at its log"
        )
    around_ms, generator_ms = _at_saturation(plan, known, stated_ms, workers)
    items = [
        Item(round(api_ms + around_ms, 4), None if math.isnan(expert_ms) else round(expert_ms, 4))
        for api_ms, expert_ms in zip(stated_ms, _medians(rested, _expert_ms), strict=True)
    ]
    hop_ms = _median(part for replies in rested for part in map(_hop_ms, replies))
    tables = Tables(
        items=drawn(known, items, plan.mix, plan.seed),
        network_ms=round(max(0.0, known.network_ms - around_ms - generator_ms), 4),
        batch_ms=_batches(plan, known, items),
        hop_ms=0.0 if math.isnan(hop_ms) else round(hop_ms, 4),
        wake_ms=_wake_ms(items, in_a_row, rested),
        cores=os.cpu_count() or 1,
        generator_ms=round(generator_ms, 4),
    )
    return Measured(plan, known, tables)


def _wake_ms(items: Sequence[Item], in_a_row: Sequence[Sequence[Reply]], rested: Sequence[Sequence[Reply]]) -> float:
    """Extra milliseconds of the screen's answers after a pause; of all answers where none is the screen's."""
    extra_ms = np.subtract(_medians(rested, _latency_ms), _medians(in_a_row, _latency_ms))
    of_screen = [ms for ms, item in zip(extra_ms.tolist(), items, strict=True) if item.expert_ms is None]
    return round(max(0.0, _median(of_screen or extra_ms.tolist())), 4)


def _at_saturation(plan: Plan, known: Known, stated_ms: Sequence[float], workers: int) -> tuple[float, float]:
    """Milliseconds of one request in an API process beyond its reported parts, and in the generator."""
    # With almost no budget no request waits for the expert, so only the API processes are busy.
    mix = replace(plan.mix, hard_share=None)
    hurried = draw(candidates(replace(plan, budget_ms=HURRIED_MS)), mix, DRAWN, plan.seed)
    cpu_s = time.process_time()
    answered, seconds = closed_loop(
        plan.url, hurried, connections=CONNECTIONS * workers, seconds=SATURATION_S, credentials=plan.credentials
    )
    if not answered:
        raise UnreachableError(f"{plan.url} must answer under load, got no answer in {seconds:.0f} s; look at its log")
    generator_s = time.process_time() - cpu_s
    # The API processes share what the generator leaves of the cores.
    working = min(workers, (os.cpu_count() or 1) - generator_s / seconds)
    of = dict(zip(map(id, known.samples), stated_ms, strict=True))
    own_ms = float(np.mean([of[id(sample)] for sample in draw(known.samples, mix, DRAWN, plan.seed)]))
    return max(0.0, 1e3 * working * seconds / answered - own_ms), 1e3 * generator_s / answered


def _batches(plan: Plan, known: Known, items: Sequence[Item]) -> dict[int, float]:
    """Median milliseconds of the expert by batch size, for copies of the hard text with the median time, after pauses.

    Without hard texts (for images, say) a batch is assumed to take as long as its items one after the other.
    """
    timed = [
        (item.expert_ms, sample)
        for item, sample in zip(items, known.samples, strict=True)
        if item.expert_ms is not None
    ]
    timed.sort(key=lambda pair: pair[0])
    texts = [sample for _, sample in timed if not sample.shape.startswith("image")]
    if not texts:
        alone_ms = timed[len(timed) // 2][0] if timed else 1.0
        return {size: size * alone_ms for size in (1, BATCH_SIZES[-1])}
    middle = texts[len(texts) // 2]
    found = {}
    for size in BATCH_SIZES:
        replies = ask_one_by_one(
            plan.url, [_list_of(middle, size)] * BATCH_ROUNDS, mean_pause_s=REST_S, credentials=plan.credentials
        )
        if any(times := [ms for ms in map(_expert_ms, replies) if not math.isnan(ms)]):
            found[size] = round(_median(times), 4)
    return found or {1: 1.0}


def _list_of(sample: Sample, size: int) -> Sample:
    body = orjson.dumps({"texts": [orjson.loads(sample.body)["text"]] * size, "budget_ms": PATIENT_MS})
    return Sample("/classify_texts", body, "application/json", "list")


def _api_ms(reply: Reply) -> float:
    parts = reply.parts()
    return sum(parts.get(name, 0.0) for name in API_PARTS)


def _latency_ms(reply: Reply) -> float:
    return reply.latency_ms


def _expert_ms(reply: Reply) -> float:
    return reply.parts().get("expert", math.nan)


def _hop_ms(reply: Reply) -> float:
    return reply.parts().get("hop", math.nan)


def _medians(rounds: Sequence[Sequence[Reply]], figure: Callable[[Reply], float]) -> list[float]:
    """For each sample, the median over rounds of a figure of its answers; NaN where no answer has it.

    This keeps differences between requests and removes moments in which the machine was busy.
    """
    return [_median(figure(o) for o in replies if o.answered) for replies in zip(*rounds, strict=True)]


def _median(values: Iterable[float]) -> float:
    return percentile([value for value in values if not math.isnan(value)], 0.5)
