from __future__ import annotations

import pytest
from pydantic import ValidationError

from optimize.bounds import Gates, LabelPromiseRecipe, OperatingPointRecipe, QualityGate


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


@pytest.mark.parametrize(
    ("stated", "says"),
    [
        ({"label": "spam"}, "needs max_missed, max_false or both"),
        ({"label": "spam", "max_false": 0.1, "missed_as": "ham"}, "missed_as needs max_missed"),
        ({"label": "spam", "max_missed": 0.1, "missed_as": "spam"}, "another label than the promise's own"),
        ({"label": "spam", "max_missed": 1.0}, "less than 1"),
    ],
)
def test_a_promise_about_a_label_promises_something(stated: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LabelPromiseRecipe.model_validate(stated)


def test_an_operating_point_without_labels_is_described_as_it_was_before_there_was_a_choice() -> None:
    assert OperatingPointRecipe().model_dump() == {"alpha": 0.01, "delta": 0.05, "max_escalation_share": 1.0}
    wanted = OperatingPointRecipe.model_validate(
        {"labels": [{"label": "spam", "max_missed": 0.02, "missed_as": "ham"}, {"label": "spam", "max_false": 0.1}]}
    )
    assert wanted.named_labels == ("spam", "ham")
