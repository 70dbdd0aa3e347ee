"""The verdict: what holds a request up, and what it follows from."""

from __future__ import annotations

from typing import Any

import pytest

from loadtest.verdict.bottleneck import ADVICE, bottleneck
from loadtest.verdict.figures import figures
from loadtest.verdict.parts import breakdown
from tests.loadtest.replies import reply

IDLE = {"read": 0.1, "tokenise": 0.2, "screen": 0.6, "encode": 0.1, "total": 1.0}


def verdict(
    parts: dict[str, float], latency_ms: float, network_ms: float = 0.5, seconds: float = 2.0, **changes: Any
) -> dict[str, Any]:
    loaded = [reply(latency_ms, parts=parts, **changes) for _ in range(1_000)]
    idle = breakdown([reply(1.5, parts=IDLE)] * 10, network_ms)
    return bottleneck(figures(loaded, seconds, 50.0, network_ms), idle)


@pytest.mark.parametrize(
    ("part", "group"),
    [("screen", "inference"), ("expert", "inference"), ("decode", "pre-processing"), ("tokenise", "pre-processing"),
     ("read", "serialization"), ("hop", "network"), ("model", "inference"), ("mystery", "other")],
)  # fmt: skip
def test_the_group_of_the_longest_part_is_named_with_its_figures(part: str, group: str) -> None:
    found = verdict({**IDLE, part: 30.0, "total": 1.0 - IDLE.get(part, 0.0) + 30.0}, 32.0)
    assert found["group"] == group
    assert found["advice"] == ADVICE[group]
    assert found["waited_for"] is None
    assert "32.0 ms" in found["why"][0]
    assert f"are {group}" in found["why"][0]
    assert found["share"] > 0.9
    # 500 answers/s, 1 ms of the process each.
    assert found["busy_share"] == {"API process": 0.5}


def test_queueing_is_traced_to_who_was_waited_for() -> None:
    api = verdict(IDLE, 40.0)
    assert (api["group"], api["waited_for"]) == ("queueing", "API process")
    assert "38.5 before the API process" in api["why"][2]
    assert "would leave it time" in api["advice"], "it is busy half of the time"
    assert "cannot keep up" in verdict(IDLE, 40.0, seconds=1.1)["advice"]
    expert = verdict({**IDLE, "queue": 35.0, "total": 36.0}, 37.0)
    assert (expert["group"], expert["waited_for"]) == ("queueing", "expert")
    assert "larger batches" in expert["advice"]


def test_a_late_generator_is_not_passed_over() -> None:
    found = verdict(IDLE, 21.5, lag_ms=20.0)
    assert found["group"] == "inference"
    assert any("generator itself was late" in sentence for sentence in found["why"])
    assert not any("generator" in sentence for sentence in verdict(IDLE, 1.5)["why"])


def test_a_server_that_states_nothing_gets_no_guess() -> None:
    loaded = figures([reply(9.0)] * 100, 1.0, 50.0, 0.0)
    found = bottleneck(loaded, breakdown([reply(2.0)], 0.0))
    assert found["group"] == "other"
    assert "states no parts" in found["advice"]
    none = bottleneck(figures([reply(kind="failed")], 1.0, 50.0, 0.0), {"all": None, "slowest": None})
    assert none["group"] is None
