"""With and without audits in turn: whose turn it is, what was audited, and what the table says."""

from __future__ import annotations

import tomllib
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import audit_cost
from benchmarks.audit_cost import (
    MAX_TIMES,
    NOTHING,
    WATCHED,
    AuditCost,
    Side,
    looked_at,
    one_round,
    row,
    rows_of,
    table,
)
from benchmarks.figure_blocks import audit_cost_block
from serving.settings import Settings

PAGE = """# TYPE sieve_audited_total counter
sieve_audited_total{modality="text",outcome="agrees",weight="1"} 90.0
sieve_audited_total{modality="text",outcome="differs",weight="1"} 5.0
sieve_audited_total{modality="text",outcome="agrees",weight="2"} 5.0
sieve_audit_trusted_total{modality="text"} 10000.0
sieve_shadow_items_total{cascade="a",outcome="same",shadow="b"} 40.0
sieve_shadow_items_total{cascade="a",outcome="worse",shadow="b"} 10.0
sieve_shadow_items_total{cascade="a",outcome="dropped",shadow="b"} 150.0
"""


def test_the_share_that_was_looked_at_is_that_of_the_services_page() -> None:
    assert looked_at("audits", PAGE) == 0.01
    assert looked_at("shadow", PAGE) == 0.25
    assert looked_at("audits", "") == looked_at("shadow", "") == 0


def test_each_is_switched_on_by_the_settings_of_its_own() -> None:
    found = {what: Settings(**tomllib.loads(settings)) for what, settings in WATCHED.items()}
    nothing = Settings(**tomllib.loads(NOTHING))
    assert (nothing.audit_share, nothing.feedback_memory) == (0, 0)
    assert found["audits"] == Settings()
    assert Settings().audit_share > 0
    assert (found["feedback"].audit_share, found["feedback"].feedback_memory > 0) == (0, True)


def test_a_round_watches_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    watches, seen = [True], []
    api = SimpleNamespace(send_signal=lambda number: watches.__setitem__(0, not watches[0]))

    def one(*_: object) -> Side:
        seen.append(watches[0])
        return {"path_us": float(len(seen)), "per_s": 10.0 * len(seen)}

    monkeypatch.setattr(audit_cost, "child", lambda server, named: api)
    monkeypatch.setattr(audit_cost, "one", one)
    server: Any = None
    for _ in range(2):
        seen.clear()
        found = one_round(server, {}, 8, 1.0)
        assert seen == [True, True, False, False, True], "the first is a warm-up"
        assert found[True] == found[False] == {"path_us": 3.5, "per_s": 35.0}


def test_the_table_says_where_they_cost_too_much() -> None:
    def rounds(path_times: float) -> list[dict[bool, Side]]:
        with_it: Side = {"path_us": 100 * path_times, "per_s": 990.0}
        return [{True: with_it, False: {"path_us": 100.0, "per_s": 1000.0}}] * 6

    said: AuditCost = {
        "machine": {"cores": 2, "processor": "a processor", "python": "3.11"},
        "load_average_before": 0.1,
        "cascade": "demo-text",
        "tokens": 32,
        "audit_share": 0.01,
        "audited_share": 0.0098,
        "shadow_share": 0.1,
        "compared_share": 0.4,
        "rounds": 6,
        "seconds": 1.0,
        "max_times": MAX_TIMES,
        "rows": [*rows_of("audits", {1: rounds(1.004), 8: rounds(1.012)}), row("shadow", 8, rounds(1.2))],
    }
    clock = "0.990 (0.990 to 0.990)"
    assert table(said).splitlines()[2:] == [
        f"| audits | 1 | 100.0 | 100.4 | 1.004 (1.004 to 1.004) | holds | {clock} |",
        f"| audits | 8 | 100.0 | 101.2 | 1.012 (1.012 to 1.012) | ABOVE 1.01 | {clock} |",
        f"| audits | all | 100.0 | 100.8 | 1.008 (1.004 to 1.012) | holds | {clock} |",
        f"| shadow | 8 | 100.0 | 120.0 | 1.200 (1.200 to 1.200) | no bound | {clock} |",
    ]
    assert audit_cost_block(said).startswith("a processor, 2 cores")
    assert "0.98% of all were audited" in audit_cost_block(said)
