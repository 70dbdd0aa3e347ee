"""The metrics of audits: raw sums that add up, and the state of the promise."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from prometheus_client import REGISTRY

from serving.audit.auditor import Watched
from serving.audit.state import AGREES, Told
from serving.watch.metrics import Metrics
from tests.serving.conftest import sample

WATCHED: dict[str, Any] = {
    "promise": "undecided",
    "why": "",
    "since": "",
    "audited": 9,
    "disagreed": 1,
    "dropped": 2,
    "rate": 0.1,
    "bound": 0.3,
    "window_n": 9,
    "window_bound": 0.4,
    "share": 0.01,
    "threshold": 0.9,
    "raised": [],
    "saved": True,
    "broker": None,
}


def test_what_a_process_tells_is_added_up_by_weight_and_outcome(metrics: Metrics) -> None:
    tell = metrics.audit.reporter(("text",), 0.01)
    results = Counter({(0, AGREES): 3, (0, 5): 1, (2, AGREES): 4})
    for _ in range(2):
        tell(Told(items=20, trusted=15, dropped=1, results=results), Watched(**WATCHED))
    assert sample("sieve_audit_items_total", modality="text") == 40
    assert sample("sieve_audit_trusted_total", modality="text") == 30
    assert sample("sieve_audit_dropped_total", modality="text") == 2
    counted = {
        (weight, outcome): sample("sieve_audited_total", modality="text", weight=weight, outcome=outcome)
        for weight in ("1", "2", "4")
        for outcome in ("agrees", "differs")
    }
    assert {key: value for key, value in counted.items() if value} == {
        ("1", "agrees"): 6,
        ("1", "differs"): 2,
        ("4", "agrees"): 8,
    }
    assert sample("sieve_promise_alpha", modality="text") == 0.01
    assert sample("sieve_audit_bound", modality="text") == 0.3
    assert sample("sieve_audit_window_bound", modality="text") == 0.4
    assert sample("sieve_threshold", modality="text") == 0.9


@pytest.mark.parametrize(("promise", "value"), [("holds", 1), ("undecided", 0), ("broken", -1)])
def test_the_state_of_the_promise_is_a_number(metrics: Metrics, promise: str, value: int) -> None:
    tell = metrics.audit.reporter(("text",), 0.01)
    tell(Told(), Watched(**{**WATCHED, "promise": promise, "saved": False, "raised": [None]}))
    assert sample("sieve_promise_state", modality="text") == value
    assert sample("sieve_audit_unsaved", modality="text") == 1
    away = {"modality": "text"}
    assert REGISTRY.get_sample_value("sieve_audit_broker_away", away) is None, "there is no broker"
    assert sample("sieve_threshold_raises", modality="text") == 1
    tell(Told(), Watched(**{**WATCHED, "broker": "connected"}))
    assert REGISTRY.get_sample_value("sieve_audit_broker_away", away) == 0


def test_reports_count_as_what_was_asked_here_and_a_broker_that_is_away_is_told(metrics: Metrics) -> None:
    tell = metrics.audit.reporter(("text",), 0.01)
    tell(Told(dropped=1, reported={"1": (1, AGREES), "2": None}), Watched(**{**WATCHED, "broker": "away"}))
    assert sample("sieve_audited_total", modality="text", weight="2", outcome="agrees") == 1
    assert sample("sieve_audit_dropped_total", modality="text") == 2
    assert sample("sieve_audit_broker_away", modality="text") == 1
