"""Open-loop loads of the hot path's benchmark, against a little server."""

from __future__ import annotations

import json

import pytest

from benchmarks import loads as module
from benchmarks.loads import BUDGET_MS, loads
from tests.loadtest.little_server import Sent, little_server, ok


def test_each_load_is_a_step_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []

    def respond(body: bytes) -> Sent:
        seen.append(json.loads(body))
        return ok(stage="expert")

    monkeypatch.setattr(module, "LOAD_S", 0.5)
    monkeypatch.setattr(module, "MAX_REQUESTS", 30)
    with little_server(respond) as url:
        once, twice = loads(url, "a text", 40.0, (1.0, 2.0))
    assert (once["times"], twice["times"]) == (1.0, 2.0)
    assert (once["seconds"], twice["seconds"]) == (0.5, 0.375), "30 requests at most on average"
    assert once["requests"] + twice["requests"] == len(seen) > 20
    assert seen[0] == {"text": "a text", "budget_ms": BUDGET_MS}
    assert once["counts"]["missing"] == 0
