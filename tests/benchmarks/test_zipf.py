"""Texts that come again, two services in turn, and what is said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks import zipf
from benchmarks.figure_blocks import zipf_block
from benchmarks.zipf import Loop, Zipf, counts, drawn, measured, table
from loadtest.traffic.process import Running
from loadtest.traffic.sample import Sample

PAGE = """# TYPE sieve_answers_total counter
sieve_answers_total{degraded="no",modality="text",stage="screen"} 70.0
sieve_answers_total{degraded="no",modality="text",stage="expert"} 30.0
sieve_answers_created{degraded="no",modality="text",stage="expert"} 1.7e9
sieve_equal_total{how="kept",modality="text"} 60.0
sieve_equal_total{how="joined",modality="text"} 5.0
"""


def test_the_second_text_comes_half_as_often_as_the_first() -> None:
    texts = [str(place) for place in range(1_000)]
    seen = Counter(drawn(texts, 100_000, 1.0, seed=1))
    assert seen["0"] / 100_000 == pytest.approx(1 / 7.485, rel=0.05)
    assert seen["1"] / seen["0"] == pytest.approx(1 / 2, rel=0.1)
    assert seen["9"] / seen["0"] == pytest.approx(1 / 10, rel=0.15)
    assert drawn(texts, 50, 1.0, seed=2) == drawn(texts, 50, 1.0, seed=2) != drawn(texts, 50, 1.0, seed=3)


def test_counts_are_those_of_the_services_page() -> None:
    assert counts(PAGE) == {"answers": 100, "kept": 60, "joined": 5}
    assert counts("") == {"answers": 0, "kept": 0, "joined": 0}


def rows(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[tuple[str, bytes]]]:
    asked: list[tuple[str, bytes]] = []

    def loop(server: Running, samples: Sequence[Sample], _seconds: float, _connections: int) -> Loop:
        asked.append((server.url, samples[0].body))
        keeps = server.url == "keeping"
        return {"per_s": 300.0 if keeps else 100.0, "kept_share": 0.7 * keeps, "joined_share": 0.1 * keeps}

    monkeypatch.setattr(zipf, "loop", loop)
    monkeypatch.setattr(zipf, "DRAWN", 10)
    servers = {0: Running("without", None), 64: Running("keeping", None)}  # type: ignore[arg-type]
    return measured(servers, 2, 1.0, 4), asked


def test_both_replay_the_same_texts_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    _, asked = rows(monkeypatch)
    assert [url for url, _ in asked] == ["without", "keeping", "keeping", "without"]
    assert asked[0][1] == asked[1][1]
    assert asked[2][1] == asked[3][1]


def test_the_table_shows_the_gain(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = rows(monkeypatch)
    said: Zipf = {
        "machine": {"cores": 2, "processor": "a processor", "python": "3.11"},
        "load_average_before": 0.1,
        "cascade": "demo-text",
        "texts": 10_000,
        "exponent": 1.0,
        "connections": 4,
        "seconds": 1.0,
        "rows": found,
    }
    assert table(said).splitlines()[2:] == [
        "| 0 | 100 (100 to 100) |  | 0.0% | 0.0% | 0.0% |",
        "| 64 | 300 (300 to 300) | 3.00 (3.00 to 3.00) | 70.0% | 70.0% | 10.0% |",
    ]
    assert zipf_block(said).startswith("a processor, 2 cores")
