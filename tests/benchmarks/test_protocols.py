"""Rounds of all ways in turn, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks import protocols
from benchmarks.protocols import Loop, Protocols, keeps, measured, tables
from loadtest.measuring.payloads import Items
from loadtest.traffic.process import Running
from loadtest.traffic.sample import Sample
from loadtest.verdict.payloads import payload_row
from tests.loadtest.replies import reply

ITEMS: Items = {"text": [{"text": "a"}], "image": [b"file"]}


def rows(monkeypatch: pytest.MonkeyPatch, rounds: int = 3) -> tuple[list[Any], list[str]]:
    """Rows of a service that answers 90 calls over gRPC a second and 100 of all else, and what was asked in order."""
    asked: list[str] = []

    def loop(_server: Running, samples: Sequence[Sample], _seconds: float, _connections: int) -> Loop:
        asked.append(f"{samples[0].protocol} {samples[0].shape} {samples[0].content_type}")
        return {"per_s": 89.0 if samples[0].protocol == "grpc" else 100.0, "cpu_us": 500.0}

    monkeypatch.setattr(protocols, "loop", loop)
    monkeypatch.setattr(protocols, "closed_loop", lambda *_, **__: (0, 1.0))
    return measured(Running("http://x", None), ITEMS, "x:1", rounds, 1.0, 4), asked  # type: ignore[arg-type]


def test_all_ways_take_turns_and_every_other_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = rows(monkeypatch)
    ways = len(found)
    assert ways == 4 + 6
    assert asked[:ways] == asked[ways : 2 * ways][::-1] == asked[2 * ways :]
    assert len(set(asked[:ways])) == ways
    assert all(row["rounds"] == [row["per_s"]["median"]] * 3 for row in found)


def test_grpc_is_held_against_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = rows(monkeypatch)
    assert [(row["item"], row["times_rest"]["median"]) for row in found if row["encoding"] == "grpc"] == [
        ("text", 0.89),
        ("image", 0.89),
    ]
    assert [row["item"] for row in found if not keeps(row)] == ["text", "image"]
    assert keeps({**found[0], "encoding": "grpc", "times_rest": {"median": 0.9, "low": 0.8, "high": 1.0}})


def test_the_tables_show_what_falls_short(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = rows(monkeypatch)
    said: Protocols = {
        "machine": {"cores": 2, "processor": "a processor", "python": "3.11"},
        "load_average_before": 0.1,
        "connections": 4,
        "seconds": 1.0,
        "images": None,
        "rows": found,
        "payloads": [payload_row("text", "grpc", [reply()], sent_bytes=[9], encode_us=[1.0])],
    }
    lines = tables(said).splitlines()
    assert lines[2] == "| text | JSON | 100 (100 to 100) | 1.00 (1.00 to 1.00) | 500 |"
    assert lines[5] == "| text | OIP, gRPC | 89 (89 to 89) | **0.89 (0.89 to 0.89)** | 500 |"
    assert lines[-1].startswith("| text | OIP, gRPC | 9 |")
