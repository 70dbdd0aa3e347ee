"""With and without audits in turn: whose turn it is, what was audited, and what the table says."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import audit_cost
from benchmarks.audit_cost import MIN_RATIO, NOTHING, WATCHED, AuditCost, Found, looked_at, one_round, rows, table
from benchmarks.figure_blocks import audit_cost_block
from benchmarks.versions import Side
from serving.settings import Settings

PAGE = """# TYPE sieve_audited_total counter
sieve_audited_total{modality="text",outcome="agrees",weight="1"} 90.0
sieve_audited_total{modality="text",outcome="differs",weight="1"} 5.0
sieve_audited_total{modality="text",outcome="agrees",weight="2"} 5.0
sieve_audit_trusted_total{modality="text"} 10000.0
sieve_answers_total{modality="text",stage="screen"} 900.0
sieve_answers_total{modality="text",stage="expert"} 100.0
sieve_shadow_items_total{cascade="a",outcome="same",shadow="b"} 40.0
sieve_shadow_items_total{cascade="a",outcome="worse",shadow="b"} 10.0
sieve_shadow_items_total{cascade="a",outcome="dropped",shadow="b"} 60.0
"""


def test_the_share_that_was_looked_at_is_that_of_the_services_page() -> None:
    assert looked_at("audits", PAGE) == 0.01
    assert looked_at("shadow", PAGE) == 0.05
    assert looked_at("audits", "") == looked_at("shadow", "") == 0


def test_one_watches_by_default_settings_and_the_other_does_not() -> None:
    found = {what: Settings(**tomllib.loads(settings)) for what, settings in WATCHED.items()}
    nothing = Settings(**tomllib.loads(NOTHING))
    assert (nothing.audit_share, nothing.feedback_memory) == (0, 0)
    assert found["audits"] == Settings()
    assert Settings().audit_share > 0
    assert (found["feedback"].audit_share, found["feedback"].feedback_memory > 0) == (0, True)


def test_they_take_turns_and_swap_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    used_s = iter([1.0, 3.0] * 12)

    def loop(url: str, _body: Mapping[str, object], *, connections: int, seconds: float) -> dict[str, float]:
        asked.append(f"{url.removesuffix('/classify_text')} {connections}")
        return {"per_s": float(len(asked)), "requests": 10.0}

    monkeypatch.setattr(audit_cost, "closed_loop", loop)
    monkeypatch.setattr(audit_cost, "api_s", lambda _: next(used_s))
    servers: Any = {side: SimpleNamespace(url=side) for side in ("this", "other")}
    assert one_round(servers, {}, seconds=1, swapped=False)[1] == {"other": (5.0, 1.0), "this": (5.0, 2.0)}
    assert asked[:4] == ["other 1", "this 1", "other 8", "this 8"]
    asked.clear()
    one_round(servers, {}, seconds=1, swapped=True)
    assert asked[:2] == ["this 1", "other 1"]


def test_the_table_says_where_they_cost_too_much() -> None:
    measured: dict[tuple[str, int], list[dict[Side, Found]]] = {
        ("audits", 1): [{"this": Found(99.6, 99.5), "other": Found(100.0, 100.0)}] * 4,
        ("audits", 8): [{"this": Found(99.7, 98.5), "other": Found(100.0, 100.0)}] * 4,
        ("shadow", 8): [{"this": Found(90.0, 80.0), "other": Found(100.0, 100.0)}] * 4,
    }
    said: AuditCost = {
        "machine": {"cores": 2, "processor": "a processor", "python": "3.11"},
        "load_average_before": 0.1,
        "cascade": "demo-text",
        "tokens": 32,
        "audit_share": 0.01,
        "audited_share": 0.0098,
        "shadow_share": 0.1,
        "compared_share": 0.04,
        "rounds": 2,
        "seconds": 1.0,
        "min_ratio": MIN_RATIO,
        "path_rows": rows(measured, "per_cpu_s"),
        "rows": rows(measured, "per_s"),
    }
    lines = table(said).splitlines()
    assert lines[2:5] == [
        "| audits | 1 | 100 | 100 | 0.996 (0.996 to 0.996) | holds |",
        "| audits | 8 | 100 | 100 | 0.997 (0.997 to 0.997) | holds |",
        "| shadow | 8 | 100 | 90 | 0.900 (0.900 to 0.900) | no bound |",
    ]
    assert lines[8:] == [
        "| audits | 1 | 100 | 100 | 0.995 (0.995 to 0.995) | holds |",
        "| audits | 8 | 100 | 98 | 0.985 (0.985 to 0.985) | BELOW 0.99 |",
        "| shadow | 8 | 100 | 80 | 0.800 (0.800 to 0.800) | no bound |",
    ]
    assert audit_cost_block(said).startswith("a processor, 2 cores")
    assert "0.98% of all were audited" in audit_cost_block(said)
