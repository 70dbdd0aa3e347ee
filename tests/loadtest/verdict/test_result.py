"""The result of one run: valid or not, passed or not."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from loadtest.traffic.client import send_all
from loadtest.traffic.reply import Reply
from loadtest.traffic.sample import Sample
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import Result, result_of
from tests.loadtest.little_server import little_server, ok
from tests.loadtest.replies import reply

SAMPLE = Sample("/classify_text", b"{}", "application/json", "short", label="ham")


def test_a_generator_that_cannot_keep_its_schedule_makes_an_invalid_run() -> None:
    def drive(observe: Callable[[Reply], object], max_lag_ms: float) -> Result:
        due_s = np.arange(60) / 400
        with little_server(lambda _: ok()) as url:
            replies = send_all(url, [SAMPLE] * 60, due_s, timeout_s=20, observe=observe)
        objective = Objective(limits_ms={"p99": 1e6})
        return result_of(replies, 0.15, objective, idle=replies, network_ms=0.0, max_lag_ms=max_lag_ms)

    # 10 ms of other work after each reply, where one is due every 2.5 ms.
    behind = drive(lambda _: time.sleep(0.01), 30.0)
    assert behind["generator_lag_p99_ms"] > 30
    assert (behind["valid"], behind["passed"]) == (False, False), "though every limit holds"
    in_time = drive(lambda _: None, 1e6)
    assert (in_time["valid"], in_time["passed"]) == (True, True)


def test_a_valid_run_passes_when_every_part_of_the_objective_holds() -> None:
    replies = [reply(10.0, parts={"screen": 5.0, "total": 6.0}) for _ in range(2_000)]
    for limit_ms, passed in ((20.0, True), (9.0, False)):
        found = result_of(replies, 10.0, Objective(limits_ms={"p99": limit_ms}), idle=replies, network_ms=4.0)
        assert found["valid"]
        assert found["passed"] == passed
        assert found["bottleneck"]["group"] == "inference"


def test_a_run_without_replies_is_invalid() -> None:
    assert not result_of([], 10.0, Objective(), idle=[], network_ms=0.0)["valid"]
