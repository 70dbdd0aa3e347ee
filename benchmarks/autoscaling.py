"""make autoscaling: play the autoscaler of deploy/kubernetes in virtual time against a step of the load, and back.

python -m benchmarks.autoscaling   writes build/autoscaling.json; takes seconds and needs no cluster
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import yaml

from benchmarks.command import end_with
from loadtest.pages.files import write_json
from loadtest.queueing.autoscaler import (
    Curve,
    Moment,
    Policy,
    Trigger,
    offered_work,
    pods_for_deadlines,
    scale,
)
from loadtest.queueing.expert import Cost, serve

ROOT = Path(__file__).parent.parent
SCALED = ROOT / "deploy" / "kubernetes" / "components" / "keda" / "scaled-objects.yaml"
# Of the default of 50 ms; the rest is the screen's and the way's.
EXPERT_BUDGET_MS = 45.0
STEP_S, BACK_S, END_S = 300, 1_500, 3_900
FIRST_S, LAST_S = 300, 120
ENOUGH_SHARE = 0.05
"""The share of missed deadlines at which SieveDegraded fires: as few pods as needed stay below it."""
LOADS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Of what full batches allow: where one pod is simulated."""
SIMULATED = 3_000
"""Escalations, at least, at each load."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What is scaled, as a ScaledObject of that name does it, and its load per second before and during the step.

    The load of an expert is escalations, that of the API requests; the API sheds what it cannot answer in time.
    """

    name: str
    scaled: str
    cost: Cost
    low_per_s: float
    high_per_s: float


SHAPES = (
    Shape("ResNet-50 INT8, 22 ms an item", "image-expert", Cost(base_ms=0, item_ms=22), 8, 110),
    Shape("BERT, 128 tokens, 13 ms an item", "text-expert", Cost(base_ms=0, item_ms=13), 15, 230),
    Shape("an expert on a GPU, 20 ms and 0.1 ms an item", "text-expert", Cost(base_ms=20, item_ms=0.1), 100, 1_000),
    Shape("the same", "text-expert", Cost(base_ms=20, item_ms=0.1), 100, 4_000),
    Shape("the API, 1 ms a request", "sieve", Cost(base_ms=0, item_ms=1, largest=1), 200, 3_300),
)


class Row(TypedDict):
    """How one rule follows the step; seconds count from the step and from its end."""

    what: str
    low_per_s: float
    high_per_s: float
    needed: int
    rule: str
    before: int
    most: int
    enough_after_s: int | None
    missed_first: float
    missed_last: float
    back_after_s: int | None


class Autoscaling(TypedDict):
    """autoscaling.json."""

    rows: list[Row]


def main() -> int:
    """Write the rows and print them."""
    rows = [row for shape in SHAPES for row in played(shape)]
    result: Autoscaling = {"rows": rows}
    write_json(ROOT / "build" / "autoscaling.json", result)
    print(table(rows))
    return 0


def played(shape: Shape) -> list[Row]:
    """The rules of deploy/kubernetes, and the share of time that runs take, which is what the CPU shows."""
    policy, targets = deployed(shape.scaled)
    ours = [Trigger(offered_work, targets["work"])]
    if "deadline" in targets:  # the API sheds instead of being late
        ours.append(Trigger(pods_for_deadlines, targets["deadline"]))
    busy = [Trigger(lambda rates: rates.busy, targets["work"])]
    one = curve(shape.cost)
    needed = fewest(one, shape.high_per_s)
    return [
        row(shape, rule, needed, scale(one, load_of(shape), policy, triggers, END_S))
        for rule, triggers in (("deploy/kubernetes", ours), ("time busy alone", busy))
    ]


def deployed(scaled: str) -> tuple[Policy, Mapping[str, float]]:
    """The numbers of a ScaledObject, and the target of each of its triggers."""
    found = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(SCALED.read_text(encoding="utf-8"))}
    spec: Mapping[str, Any] = found[scaled]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    (up,), (down,) = behavior["scaleUp"]["policies"], behavior["scaleDown"]["policies"]
    policy = Policy(
        lowest=spec["minReplicaCount"],
        highest=spec["maxReplicaCount"],
        up_share=up["value"] / 100,
        up_s=up["periodSeconds"],
        down_pods=down["value"],
        down_s=down["periodSeconds"],
        stable_s=behavior["scaleDown"]["stabilizationWindowSeconds"],
    )
    return policy, {trigger["name"]: float(trigger["metadata"]["threshold"]) for trigger in spec["triggers"]}


def curve(cost: Cost) -> Curve:
    """What one pod does, from no load to ten times what full batches allow."""
    per_s = [load * 1e3 / cost.best_ms for load in LOADS]
    seconds = [max(10.0, SIMULATED / rate) if rate else 10.0 for rate in per_s]
    served = [serve(cost, rate, budget_ms=EXPERT_BUDGET_MS, seconds=s) for rate, s in zip(per_s, seconds, strict=True)]
    return Curve(per_s, served)


def fewest(one: Curve, per_s: float) -> int:
    """The fewest pods, of two or more, that share the load so that at most ENOUGH_SHARE misses its deadline."""
    pods = 2
    while one.at(per_s / pods).missed_per_s * pods / per_s > ENOUGH_SHARE:
        pods += 1
    return pods


def load_of(shape: Shape) -> Callable[[float], float]:
    """The load at each second."""
    return lambda at_s: shape.high_per_s if STEP_S <= at_s < BACK_S else shape.low_per_s


def row(shape: Shape, rule: str, needed: int, moments: Sequence[Moment]) -> Row:
    """The row of one play."""
    before = moments[STEP_S - 1].wanted
    enough = next((m.at_s - STEP_S for m in moments[STEP_S:BACK_S] if m.ready >= needed), None)
    back = next((m.at_s - BACK_S for m in moments[BACK_S:] if m.wanted <= before), None)
    return {
        "what": shape.name,
        "low_per_s": shape.low_per_s,
        "high_per_s": shape.high_per_s,
        "needed": needed,
        "rule": rule,
        "before": before,
        "most": max(m.wanted for m in moments[STEP_S:BACK_S]),
        "enough_after_s": None if enough is None else round(enough),
        "missed_first": round(_missed(moments[STEP_S : STEP_S + FIRST_S]), 4),
        "missed_last": round(_missed(moments[BACK_S - LAST_S : BACK_S]), 4),
        "back_after_s": None if back is None else round(back),
    }


def _missed(moments: Sequence[Moment]) -> float:
    return sum(moment.missed_share for moment in moments) / len(moments)


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown."""
    lines = [
        "| what, load/s | pods needed | rule | pods before, at most | enough after | missed, first 5 minutes "
        "| missed, at last | back after |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in rows:
        load = f"{one['what']}, {one['low_per_s']:g} to {one['high_per_s']:,g}"
        lines.append(
            f"| {load} | {one['needed']} | {one['rule']} | {one['before']}, {one['most']} "
            f"| {_said(one['enough_after_s'])} | {one['missed_first']:.1%} | {one['missed_last']:.1%} "
            f"| {_said(one['back_after_s'])} |"
        )
    return "\n".join(lines)


def _said(seconds: int | None) -> str:
    return "never" if seconds is None else f"{seconds:,} s"


if __name__ == "__main__":
    end_with(main)
