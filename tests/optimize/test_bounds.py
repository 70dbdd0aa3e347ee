from __future__ import annotations

import pytest
from pydantic import ValidationError

from optimize.bounds import QualityGate


def test_a_gate_that_watches_no_label_is_described_as_it_was_before_there_was_a_choice() -> None:
    assert "watch_labels" not in QualityGate().model_dump()
    assert QualityGate(watch_labels=("spam",)).model_dump()["watch_labels"] == ("spam",)


def test_a_watched_label_needs_a_bound() -> None:
    with pytest.raises(ValidationError, match="watch_labels needs max_recall_drop"):
        QualityGate(watch_labels=("spam",), max_recall_drop=None)
