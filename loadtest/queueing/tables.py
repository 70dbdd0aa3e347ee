"""The tables of a service, measured by HTTP alone, from which `simulation` says how it queues."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import orjson

from loadtest.queueing.simulation import Item, Tables
from loadtest.run import MAX_PROBES, Known, Plan, UnreachableError, candidates, look
from loadtest.traffic.client import ask_one_by_one, closed_loop
from loadtest.traffic.workload import Mix, Sample, draw
from loadtest.verdict.figures import API_PARTS, percentile
from loadtest.verdict.outcome import Outcome

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
BATCH_ROUNDS = 7
ROUNDS, RESTED_ROUNDS, REST_S = 5, 3, 0.008
DRAWN = 4_000
HURRIED_MS, PATIENT_MS = 0.01, 1_000
SATURATION_S, CONNECTIONS = 4.0, 16


@dataclass(frozen=True, slots=True)
class Measured:
    """A service as it was measured, for the mix of the plan."""

    plan: Plan
    known: Known
    tables: Tables

    @property
    def escalation_share(self) -> float:
        """Share of the plan's requests that the screen escalates."""
        return sum(item.expert_ms is not None for item in self.tables.items) / len(self.tables.items)


def drawn(known: Known, items: Sequence[Item], mix: Mix, seed: int) -> list[Item]:
    """Items in the shares of a mix."""
    of = dict(zip(map(id, known.samples), items, strict=True))
    return [of[id(sample)] for sample in draw(known.samples, mix, DRAWN, seed)]


def measure(plan: Plan, workers: int) -> Measured:
    """The tables of a service with so many API processes, by HTTP alone.

    An API process's work on a request is what its parts state, and what the server does around them: the rest of the
    time that a request costs at saturation, where that process does nothing else. The expert is timed after rests, as
    it works where few escalate: in a row it would find its caches warm.
    """
    known = look(plan, MAX_PROBES)
    draw(known.samples, plan.mix, 1, plan.seed)  # a mix that cannot be had is said before anything is measured
    in_a_row = [known.idle, *(ask_one_by_one(plan.url, known.samples) for _ in range(ROUNDS - 1))]
    rested = [
        ask_one_by_one(plan.url, known.samples, mean_pause_s=REST_S, seed=number) for number in range(RESTED_ROUNDS)
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
    of_screen = [place for place, item in enumerate(items) if item.expert_ms is None] or range(len(items))
    woken_ms = np.subtract(_medians(rested, _latency_ms), _medians(in_a_row, _latency_ms))
    hop_ms = _median(part for outcomes in rested for part in map(_hop_ms, outcomes))
    tables = Tables(
        items=drawn(known, items, plan.mix, plan.seed),
        network_ms=round(max(0.0, known.network_ms - around_ms - generator_ms), 4),
        batch_ms=_batches(plan, known, items),
        hop_ms=0.0 if math.isnan(hop_ms) else round(hop_ms, 4),
        wake_ms=round(max(0.0, _median(woken_ms[list(of_screen)])), 4),
        cores=os.cpu_count() or 1,
        generator_ms=round(generator_ms, 4),
    )
    return Measured(plan, known, tables)


def _at_saturation(plan: Plan, known: Known, stated_ms: Sequence[float], workers: int) -> tuple[float, float]:
    """Milliseconds that a request costs one of the API processes beyond its stated parts, and the generator."""
    # With a budget that is over at once no request waits for the expert, so the API is all that is busy.
    mix = replace(plan.mix, hard_share=None)
    hurried = draw(candidates(replace(plan, budget_ms=HURRIED_MS)), mix, DRAWN, plan.seed)
    cpu_s = time.process_time()
    answered, seconds = closed_loop(plan.url, hurried, connections=CONNECTIONS * workers, seconds=SATURATION_S)
    if not answered:
        raise UnreachableError(f"{plan.url} must answer under load, got no answer in {seconds:.0f} s; look at its log")
    generator_s = time.process_time() - cpu_s
    # Together the API's processes have what the generator leaves of the cores.
    working = min(workers, (os.cpu_count() or 1) - generator_s / seconds)
    of = dict(zip(map(id, known.samples), stated_ms, strict=True))
    own_ms = float(np.mean([of[id(sample)] for sample in draw(known.samples, mix, DRAWN, plan.seed)]))
    return max(0.0, 1e3 * working * seconds / answered - own_ms), 1e3 * generator_s / answered


def _batches(plan: Plan, known: Known, items: Sequence[Item]) -> dict[int, float]:
    """Median ms of the expert by batch size: lists of the hard text in the middle, after rests.

    Where there are no hard texts (images, say), a batch is taken for as long as its items one after the other, and
    where there is nothing hard at all, the expert is never asked.
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
        outcomes = ask_one_by_one(plan.url, [_list_of(middle, size)] * BATCH_ROUNDS, mean_pause_s=REST_S)
        if any(times := [ms for ms in map(_expert_ms, outcomes) if not math.isnan(ms)]):
            found[size] = round(_median(times), 4)
    return found or {1: 1.0}


def _list_of(sample: Sample, size: int) -> Sample:
    body = orjson.dumps({"texts": [orjson.loads(sample.body)["text"]] * size, "budget_ms": PATIENT_MS})
    return Sample("/classify_texts", body, "application/json", "list")


def _api_ms(outcome: Outcome) -> float:
    parts = outcome.parts()
    return sum(parts.get(name, 0.0) for name in API_PARTS)


def _latency_ms(outcome: Outcome) -> float:
    return outcome.latency_ms


def _expert_ms(outcome: Outcome) -> float:
    return outcome.parts().get("expert", math.nan)


def _hop_ms(outcome: Outcome) -> float:
    return outcome.parts().get("hop", math.nan)


def _medians(rounds: Sequence[Sequence[Outcome]], figure: Callable[[Outcome], float]) -> list[float]:
    """For each sample the median over rounds of its answers: what differs from request to request is kept, and what the
    machine was doing meanwhile is not. NaN where no answer has the figure.
    """
    return [_median(figure(o) for o in outcomes if o.answered) for outcomes in zip(*rounds, strict=True)]


def _median(values: Iterable[float]) -> float:
    return percentile([value for value in values if not math.isnan(value)], 0.5)
