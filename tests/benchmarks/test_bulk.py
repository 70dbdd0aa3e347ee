from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.bulk import Bulk, rounds, table
from tests.optimize.score.tiny_models import WORDS, tiny_cascade


def test_both_are_measured_on_the_same_rows(tmp_path: Path) -> None:
    cascade = tiny_cascade(tmp_path / "cascade")
    measured = rounds(cascade, [*WORDS] * 10, tmp_path, 3, 1)
    assert measured["escalated_share"] == pytest.approx(0.5)
    assert len(measured["score_per_s"]) == len(measured["models_per_s"]) == 3
    assert measured["ratio"] > 0


def test_the_table_shows_medians_and_their_spread() -> None:
    said: Bulk = {
        "machine": {"cores": 2, "processor": "a processor", "python": "3.11"},
        "load_average_before": 0.1,
        "cascade": "demo-text",
        "rows": 4000,
        "threads": 2,
        "escalated_share": 0.321,
        "score_per_s": [900.0, 1000.0, 950.0],
        "models_per_s": [1000.0, 1000.0, 1010.0],
        "ratio": 0.95,
    }
    assert table(said).splitlines()[-1] == (
        "| demo-text | 4,000 | 2 | 32.1% | 950 (900 to 1,000) | 1,000 (1,000 to 1,010) | 0.95 |"
    )
