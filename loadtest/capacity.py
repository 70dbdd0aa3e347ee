"""How many replicas for so many requests a second: measured tables, a simulation, and its check against the service."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from loadtest.client import ask_one_by_one, closed_loop
from loadtest.contender import Subject
from loadtest.figures import API_PARTS, percentile
from loadtest.live import console
from loadtest.objective import Objective
from loadtest.report import machine, write_json
from loadtest.run import Known, Plan, candidates, look
from loadtest.simulation import Load, Tables, simulate
from loadtest.workload import Sample, draw

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
BATCH_ROUNDS = 7
TIMES_ASKED = 5
DRAWN = 4_000
HURRIED_MS = 0.01
SATURATION_S, CONNECTIONS = 4.0, 16
CHECK_SHARES = (0.4, 0.65)
"""Loads at which the simulation is held against the service, as shares of what the API can do."""
TOLERANCE = 0.25


def measure(plan: Plan) -> tuple[Known, Tables]:
    """The tables of a service, by HTTP alone.

    An API process's work on a request is what its parts state, and what the server does around them: the rest of the
    time that a request costs at saturation, where that process does nothing else.
    """
    known = look(plan)
    stated = _stated(plan, known)
    drawn = draw(known.samples, plan.mix, DRAWN, plan.seed)
    # With a budget that is over at once no request waits for the expert, so the API is all that is busy.
    mix = replace(plan.mix, hard_share=None)
    hurried = draw(candidates(replace(plan, budget_ms=HURRIED_MS)), mix, DRAWN, plan.seed)
    cpu_s = time.process_time()
    answered, seconds = closed_loop(plan.url, hurried, connections=CONNECTIONS, seconds=SATURATION_S)
    generator_ms = 1e3 * (time.process_time() - cpu_s) / answered
    own_ms = float(np.mean([stated[sample.body] for sample in draw(known.samples, mix, DRAWN, plan.seed)]))
    around_ms = max(0.0, 1e3 * seconds / answered - own_ms)
    batch_ms, spread, hop_ms = _batches(plan, known)
    tables = Tables(
        api_ms=[round(stated[sample.body] + around_ms, 4) for sample in drawn],
        network_ms=round(max(0.0, known.network_ms - around_ms - generator_ms), 4),
        batch_ms=batch_ms,
        batch_spread=spread,
        hop_ms=hop_ms,
        cores=os.cpu_count() or 1,
        generator_ms=round(generator_ms, 4),
    )
    return known, tables


def escalation_share(known: Known, plan: Plan) -> float:
    """Share of the plan's requests that the screen escalates."""
    drawn = draw(known.samples, plan.mix, DRAWN, plan.seed)
    return sum(sample.shape.endswith("hard") for sample in drawn) / len(drawn)


def replicas(tables: Tables, load: Load, rate_per_s: float, limit_ms: float) -> dict[str, Any]:
    """How many replicas answer `rate_per_s` with a p99 within the limit: the highest rate of one, by bisection."""
    ceiling = ceiling_per_s(tables, load)
    low, high = 0.0, ceiling
    best: dict[str, Any] = {}
    while high - low > 0.01 * ceiling:
        middle = (low + high) / 2
        found = predicted(tables, replace(load, rate_per_s=middle))
        if found["p99_ms"] <= limit_ms and found["degraded_share"] <= 0.01:
            low, best = middle, found
        else:
            high = middle
    count = math.ceil(rate_per_s / low) if low else None
    each = predicted(tables, replace(load, rate_per_s=rate_per_s / count)) if count else best
    return {"replicas": count, "highest_rate_of_one_per_s": round(low, 1), "each": each}


def ceiling_per_s(tables: Tables, load: Load) -> float:
    """Requests a second at which the API processes have no moment left."""
    return 1e3 * load.workers / float(np.mean(tables.api_ms))


def predicted(tables: Tables, load: Load) -> dict[str, float]:
    """p50, p99 and degraded share of one replica."""
    found = simulate(tables, load)
    return {
        "rate_per_s": round(load.rate_per_s, 1),
        "p50_ms": round(percentile(found.latency_ms, 0.5), 3),  # type: ignore[arg-type]
        "p99_ms": round(percentile(found.latency_ms, 0.99), 3),  # type: ignore[arg-type]
        "degraded_share": round(float(found.degraded.mean()) if len(found.degraded) else 0.0, 5),
    }


def check(plan: Plan, known: Known, tables: Tables, load: Load, *, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Predicted against measured p99 at two loads, the median of rounds in turn."""
    ceiling = ceiling_per_s(tables, load)
    subject = Subject(plan, Objective(), known, known.typical(plan.mix, plan.seed))
    measured: dict[float, list[float]] = {share: [] for share in CHECK_SHARES}
    for number in range(rounds):
        for share in CHECK_SHARES:
            figures = subject.attempt(share * ceiling, seed=number + 1, seconds=seconds)["figures"]
            measured[share].append(figures["latency_ms"]["p99"]["ms"] or math.inf)
    rows = []
    for share in CHECK_SHARES:
        said = predicted(tables, replace(load, rate_per_s=share * ceiling))
        got = percentile(measured[share], 0.5)
        off = said["p99_ms"] / got - 1
        rows.append(
            {
                "rate_per_s": said["rate_per_s"],
                "predicted_p99_ms": said["p99_ms"],
                "measured_p99_ms": round(got, 3),
                "rounds_ms": [round(ms, 3) for ms in measured[share]],
                "off_share": round(off, 4),
                "holds": abs(off) <= TOLERANCE,
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
) -> dict[str, Any]:
    """Measure, simulate, perhaps check; writes capacity.json. `share`: of escalations, as measured where None."""
    known, tables = measure(plan)
    own = escalation_share(known, plan)
    budget_ms = plan.budget_ms or limit_ms
    load = Load(rate_per_s=rate_per_s, escalation_share=own, budget_ms=budget_ms, workers=workers)
    rows = check(plan, known, tables, load, seconds=check_s, rounds=3) if check_s else []
    asked = replace(load, escalation_share=own if share is None else share)
    # In production the generator is somewhere else.
    found = replicas(replace(tables, generator_ms=0.0), asked, rate_per_s, limit_ms)
    said = {key: value for key, value in asdict(tables).items() if key not in ("api_ms", "batch_spread")}
    result = {
        "asked": {"rate_per_s": rate_per_s, "p99_ms": limit_ms, "escalation_share": round(asked.escalation_share, 4)},
        **found,
        "check": rows,
        "tables": {**said, "api_ms": {f"p{q}": percentile(tables.api_ms, q / 100) for q in (10, 50, 90, 99)}},
        "machine": machine(),
    }
    write_json(folder / "capacity.json", result)
    return result


def say(result: dict[str, Any]) -> None:
    """For a terminal."""
    asked, each = result["asked"], result["each"]
    for row in result["check"]:
        mark = "holds      " if row["holds"] else "FALLS SHORT"
        console.print(
            f"{mark} at {row['rate_per_s']:g}/s: p99 predicted {row['predicted_p99_ms']:.1f} ms, measured "
            f"{row['measured_p99_ms']:.1f} ms ({row['off_share']:+.0%}; {TOLERANCE:.0%} allowed)"
        )
    if result["replicas"] is None:
        console.print(f"no number of replicas keeps p99 within {asked['p99_ms']:g} ms: one alone does not when idle")
        return
    console.print(
        f"{result['replicas']} replicas for {asked['rate_per_s']:g} requests/s at p99 {asked['p99_ms']:g} ms with "
        f"{asked['escalation_share']:.1%} escalated: each at most {result['highest_rate_of_one_per_s']:g}/s; then p99 "
        f"is {each['p99_ms']:.1f} ms"
    )


def _stated(plan: Plan, known: Known) -> dict[bytes, float]:
    """Milliseconds of the API process by request, the median of some times that each is asked alone: what differs from
    request to request is kept, and what the machine was doing meanwhile is not.
    """
    rounds = [known.idle, *(ask_one_by_one(plan.url, known.samples) for _ in range(TIMES_ASKED - 1))]
    found = {}
    for place, sample in enumerate(known.samples):
        parts = [outcomes[place].parts() for outcomes in rounds if outcomes[place].answered]
        found[sample.body] = percentile([sum(p.get(name, 0.0) for name in API_PARTS) for p in parts], 0.5)
    return found


def _batches(plan: Plan, known: Known) -> tuple[dict[int, float], list[float], float]:
    """Median ms of the expert by batch size, all measured over their median, and the hop; by lists of hard texts.

    Where there are no hard texts (images, say), a batch is taken for as long as its items one after the other.
    """
    escalated = [o.parts() for o in known.idle if o.answered and o.stage == "expert"]
    if not escalated:
        return {1: 0.0}, [1.0], 0.0
    hop_ms = percentile([parts.get("hop", 0.0) for parts in escalated], 0.5)
    alone = [parts["expert"] for parts in escalated]
    middle = percentile(alone, 0.5)
    spread = [round(ms / middle, 4) for ms in alone]
    hard = [s for s in known.samples if s.shape.endswith("hard") and not s.shape.startswith("image")]
    if not hard:
        return {size: round(size * middle, 4) for size in (1, BATCH_SIZES[-1])}, spread, round(hop_ms, 4)
    found = {}
    for size in BATCH_SIZES:
        outcomes = ask_one_by_one(plan.url, [_list_of(hard, size, turn) for turn in range(BATCH_ROUNDS)])
        times = [o.parts()["expert"] for o in outcomes if o.answered and "expert" in o.parts()]
        if times:
            found[size] = round(percentile(times, 0.5), 4)
    return found or {1: round(middle, 4)}, spread, round(hop_ms, 4)


def _list_of(hard: Sequence[Sample], size: int, turn: int) -> Sample:
    texts = [orjson.loads(hard[(turn + i) % len(hard)].body)["text"] for i in range(size)]
    body = orjson.dumps({"texts": texts, "budget_ms": 1000})
    return Sample("/classify_texts", body, "application/json", "list")
