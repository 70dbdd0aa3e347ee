from __future__ import annotations

import pytest
from pydantic import ValidationError

from optimize.bounds import Gates, QualityGate


def test_a_gate_that_watches_no_label_is_described_as_it_was_before_there_was_a_choice() -> None:
    assert "watch_labels" not in QualityGate().model_dump()
    assert QualityGate(watch_labels=("spam",)).model_dump()["watch_labels"] == ("spam",)


def test_a_watched_label_needs_a_bound() -> None:
    with pytest.raises(ValidationError, match="watch_labels needs max_recall_drop"):
        QualityGate(watch_labels=("spam",), max_recall_drop=None)


def test_gates_of_one_runtime_are_described_as_they_were_before_there_was_a_choice() -> None:
    assert "runtimes" not in Gates().model_dump()
    both = Gates.model_validate({"runtimes": ["onnxruntime", "openvino"]})
    assert both.model_dump(mode="json")["runtimes"] == ["onnxruntime", "openvino"]


@pytest.mark.parametrize("runtimes", [[], ["openvino"], ["onnxruntime", "openvino", "openvino"]])
def test_every_runtime_is_measured_against_onnxruntime(runtimes: list[str]) -> None:
    with pytest.raises(ValidationError, match='runtimes must name "onnxruntime", which every service has'):
        Gates.model_validate({"runtimes": runtimes})
