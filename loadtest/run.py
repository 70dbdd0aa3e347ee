"""One load test: get to know the service, warm it up, drive it, judge it."""

from __future__ import annotations

import time

from loadtest.machine import machine
from loadtest.measuring.drive import drive
from loadtest.measuring.known import look
from loadtest.measuring.payloads import Items, compare_payloads
from loadtest.traffic.plan import Plan
from loadtest.traffic.reply import Reply
from loadtest.traffic.workload import image_files, text_items
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import RunResult, result_of

PAYLOAD_ITEMS, PAYLOAD_ROUNDS = 10, 5


def run(plan: Plan, objective: Objective) -> tuple[RunResult, list[Reply]]:
    """Carry out a plan: the result for JSON, and every reply. Raises LoadTestError.

    Where the plan's limit ends the measuring early, what was sent until then is judged.
    """
    known = look(plan)
    if plan.warm_up_s:
        plan.limit.require(plan.warm_up_s, "warm up")
        drive(plan, known, plan.warm_up_s, seed=plan.seed + 1, title="warm-up")
    begin = time.strftime("%Y-%m-%dT%H:%M:%S%z")
    plan.limit.require(0.0, "measure")
    left_s = plan.limit.left_s()
    replies, seconds = drive(plan, known, plan.seconds, seed=plan.seed, title="measuring", most_s=left_s)
    idle = known.typical(plan.mix, plan.seed)
    found = result_of(replies, seconds, objective, idle=idle, network_ms=known.network_ms, max_lag_ms=plan.max_lag_ms)
    result: RunResult = {
        "began": begin,
        "plan": plan.as_dict(),
        "idle": known.figures(idle),
        "valid": found["valid"],
        "generator_lag_p99_ms": found["generator_lag_p99_ms"],
        "generator_lag_limit_ms": found["generator_lag_limit_ms"],
        "figures": found["figures"],
        "objective": found["objective"],
        "passed": found["passed"],
        "bottleneck": found["bottleneck"],
        "machine": machine(),
    }
    if seconds == left_s:
        result["cut_to_s"] = round(seconds, 1)
    if plan.payloads and plan.limit.left_s():
        texts = [item for item, _ in text_items(plan.texts, plan.seed)[:PAYLOAD_ITEMS]]
        images = image_files(plan.images, plan.seed)[:PAYLOAD_ITEMS]
        items: Items = {"text": texts, "image": images}
        result["payloads"] = compare_payloads(
            plan.url, items, grpc=plan.grpc, rounds=PAYLOAD_ROUNDS, credentials=plan.credentials
        )
    return result, replies
