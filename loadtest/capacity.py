"""How many replicas for so many requests a second: measured tables, a simulation, and its check against the service."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from loadtest.client import ask_one_by_one, closed_loop
from loadtest.contender import Subject
from loadtest.figures import API_PARTS, percentile
from loadtest.live import console
from loadtest.objective import Objective
from loadtest.outcome import Outcome
from loadtest.report import machine, write_json
from loadtest.run import Known, Plan, UnreachableError, candidates, look
from loadtest.simulation import Item, Load, Tables, simulate
from loadtest.workload import Mix, Sample, draw

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
BATCH_ROUNDS = 7
ROUNDS, RESTED_ROUNDS, REST_S = 5, 3, 0.008
DRAWN = 4_000
MIN_SIMULATED = 2_000
"""Requests, however small the rate: a p99 of fewer is one request's name."""
HURRIED_MS, PATIENT_MS = 0.01, 1_000
SATURATION_S, CONNECTIONS = 4.0, 16
CHECK_SHARES = (0.4, 0.65)
"""Loads at which the simulation is held against the service, as shares of what the API can do."""
CHECK_ROUNDS, TOLERANCE = 3, 0.25


@dataclass(frozen=True, slots=True)
class Measured:
    """A service as it was measured. `items`: of the known samples, each; `tables`: for the mix of the plan."""

    plan: Plan
    known: Known
    items: list[Item]
    tables: Tables

    @property
    def escalation_share(self) -> float:
        """Share of the plan's requests that the screen escalates."""
        return sum(item.expert_ms is not None for item in self.tables.items) / len(self.tables.items)

    def with_share(self, share: float) -> Tables:
        """The tables for this share of escalations; WorkloadError where none of them, or nothing else, was met."""
        mix = replace(self.plan.mix, hard_share=share)
        return replace(self.tables, items=drawn(self.known, self.items, mix, self.plan.seed))


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
    known = look(plan)
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
    return Measured(plan, known, items, tables)


def replicas(
    tables: Tables, load: Load, rate_per_s: float, limit_ms: float, max_degraded_share: float = 0.01
) -> dict[str, Any]:
    """How many replicas answer `rate_per_s` with a p99 within the limit: the highest rate of one, by bisection."""
    ceiling = ceiling_per_s(tables, load)
    low, high = 0.0, ceiling
    best: dict[str, Any] = {}
    while high - low > 0.01 * ceiling:
        middle = (low + high) / 2
        found = predicted(tables, replace(load, rate_per_s=middle))
        if found["p99_ms"] <= limit_ms and found["degraded_share"] <= max_degraded_share:
            low, best = middle, found
        else:
            high = middle
    count = math.ceil(rate_per_s / low) if low else None
    each = predicted(tables, replace(load, rate_per_s=rate_per_s / count)) if count else best
    said = {name: _finite(value) for name, value in each.items()}
    return {"replicas": count, "highest_rate_of_one_per_s": round(low, 1), "each": said}


def ceiling_per_s(tables: Tables, load: Load) -> float:
    """Requests a second at which the API processes have no moment left."""
    return 1e3 * load.workers / float(np.mean([item.api_ms for item in tables.items]))


def predicted(tables: Tables, load: Load) -> dict[str, float]:
    """p50, p99 and degraded share of one replica; infinite where so many are not answered."""
    found = simulate(tables, replace(load, seconds=max(load.seconds, MIN_SIMULATED / load.rate_per_s)))
    return {
        "rate_per_s": round(load.rate_per_s, 1),
        "p50_ms": percentile(found.latency_ms, 0.5),  # type: ignore[arg-type]
        "p99_ms": percentile(found.latency_ms, 0.99),  # type: ignore[arg-type]
        "degraded_share": float(found.degraded.mean()),
    }


def check(found: Measured, load: Load, *, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Predicted against measured p99 at two loads, the median of rounds in turn."""
    plan, known, tables = found.plan, found.known, found.tables
    ceiling = ceiling_per_s(tables, load)
    subject = Subject(plan, Objective(), known, known.typical(plan.mix, plan.seed))
    runs: dict[float, list[dict[str, Any]]] = {share: [] for share in CHECK_SHARES}
    for number in range(rounds):
        for share in CHECK_SHARES:
            runs[share].append(subject.attempt(share * ceiling, seed=number + 1, seconds=seconds))
    rows = []
    for share in CHECK_SHARES:
        said = predicted(tables, replace(load, rate_per_s=share * ceiling))
        p50_ms, p99_ms = (
            [run["figures"]["asked_ms"][name]["ms"] or math.inf for run in runs[share]] for name in ("p50", "p99")
        )
        valid = all(run["valid"] for run in runs[share])
        off = said["p99_ms"] / percentile(p99_ms, 0.5) - 1
        rows.append(
            {
                "rate_per_s": said["rate_per_s"],
                "predicted_p50_ms": _finite(said["p50_ms"]),
                "measured_p50_ms": _finite(percentile(p50_ms, 0.5)),
                "predicted_p99_ms": _finite(said["p99_ms"]),
                "measured_p99_ms": _finite(percentile(p99_ms, 0.5)),
                "rounds_ms": [_finite(ms) for ms in p99_ms],
                "off_share": _finite(off),
                "valid": valid,
                "holds": valid and abs(off) <= TOLERANCE,
            }
        )
    return rows


def answer(
    plan: Plan,
    *,
    rate_per_s: float,
    limit_ms: float,
    workers: int,
    share: float | None,
    folder: Path,
    check_s: float | None,
    max_degraded_share: float = 0.01,
) -> dict[str, Any]:
    """Measure, simulate, perhaps check; writes capacity.json. `share`: of escalations, as measured where None.

    The service is taken to have the default settings but for its `workers`.
    """
    measured = measure(plan, workers)
    load = Load(rate_per_s=rate_per_s, budget_ms=plan.budget_ms or limit_ms, workers=workers)
    rows = check(measured, load, seconds=check_s, rounds=CHECK_ROUNDS) if check_s else []
    own = measured.escalation_share
    tables = measured.tables if share is None else measured.with_share(share)
    # In production the generator is somewhere else.
    found = replicas(replace(tables, generator_ms=0.0), load, rate_per_s, limit_ms, max_degraded_share)
    said = {key: value for key, value in asdict(tables).items() if key != "items"}
    api_ms = [item.api_ms for item in tables.items]
    expert_ms = [item.expert_ms for item in tables.items if item.expert_ms is not None]
    quantiles = {
        name: {f"p{q}": percentile(values, q / 100) for q in (10, 50, 90, 99)} if values else None
        for name, values in (("api_ms", api_ms), ("expert_ms", expert_ms))
    }
    result = {
        "asked": {
            "rate_per_s": rate_per_s,
            "p99_ms": limit_ms,
            "escalation_share": round(own if share is None else share, 4),
        },
        **found,
        "check": rows,
        "tables": {**said, **quantiles},
        "machine": machine(),
    }
    write_json(folder / "capacity.json", result)
    return result


def say(result: dict[str, Any]) -> None:
    """For a terminal."""
    for row in result["check"]:
        mark = "holds      " if row["holds"] else "FALLS SHORT"
        console.print(
            f"{mark} at {row['rate_per_s']:g}/s: p99 predicted {_said(row['predicted_p99_ms'])} ms, measured "
            f"{_said(row['measured_p99_ms'])} ms ({_off(row)}; {TOLERANCE:.0%} allowed)"
        )
    console.print(in_words(result))


def table(result: dict[str, Any]) -> str:
    """Markdown."""
    lines = [in_words(result) + "."]
    if result["check"]:
        lines += [
            "",
            "| requests/s | p50 ms predicted | measured | p99 ms predicted | measured (rounds) | off |",
            "| ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
    for row in result["check"]:
        rounds = ", ".join(map(_said, row["rounds_ms"]))
        lines.append(
            f"| {row['rate_per_s']:g} | {_said(row['predicted_p50_ms'])} | {_said(row['measured_p50_ms'])} "
            f"| {_said(row['predicted_p99_ms'])} | {_said(row['measured_p99_ms'])} ({rounds}) | {_off(row)} |"
        )
    return "\n".join(lines)


def in_words(result: dict[str, Any]) -> str:
    """The answer to the question how many."""
    asked, each = result["asked"], result["each"]
    if result["replicas"] is None:
        return f"no number of replicas keeps p99 within {asked['p99_ms']:g} ms: one alone does not when idle"
    return (
        f"{result['replicas']} replicas for {asked['rate_per_s']:g} requests/s at p99 {asked['p99_ms']:g} ms with "
        f"{asked['escalation_share']:.1%} escalated: each at most {result['highest_rate_of_one_per_s']:g}/s; then p99 "
        f"is {_said(each['p99_ms'])} ms"
    )


def _finite(value: float) -> float | None:
    """For JSON, which knows no infinity."""
    return round(value, 4) if math.isfinite(value) else None


def _said(ms: float | None) -> str:
    return "no answer" if ms is None else f"{ms:.1f}"


def _off(row: dict[str, Any]) -> str:
    if not row["valid"]:
        return "the generator was late"
    return "not to be told" if row["off_share"] is None else f"{row['off_share']:+.0%}"


def _at_saturation(plan: Plan, known: Known, stated_ms: Sequence[float], workers: int) -> tuple[float, float]:
    """Milliseconds that a request costs one of the API processes beyond its stated parts, and the generator."""
    # With a budget that is over at once no request waits for the expert, so the API is all that is busy.
    mix = replace(plan.mix, hard_share=None)
    hurried = draw(candidates(replace(plan, budget_ms=HURRIED_MS)), mix, DRAWN, plan.seed)
    cpu_s = time.process_time()
    answered, seconds = closed_loop(plan.url, hurried, connections=CONNECTIONS * workers, seconds=SATURATION_S)
    if not answered:
        raise UnreachableError(f"{plan.url} must answer under load, got no answer in {seconds:.0f} s; look at its log")
    generator_ms = 1e3 * (time.process_time() - cpu_s) / answered
    of = dict(zip(map(id, known.samples), stated_ms, strict=True))
    own_ms = float(np.mean([of[id(sample)] for sample in draw(known.samples, mix, DRAWN, plan.seed)]))
    return max(0.0, 1e3 * workers * seconds / answered - own_ms), generator_ms


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
