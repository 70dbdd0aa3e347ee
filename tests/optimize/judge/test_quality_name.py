from __future__ import annotations

from optimize.judge.quality_name import NAMES, named, quality_name


def test_figures_are_called_by_what_they_are() -> None:
    rows = {"models": [{"accuracy": 0.9, "gate": {"max_accuracy_drop": 0.1}}], "paired": {"accuracy_drop": 0.0}}
    assert named(rows, NAMES["data"]) == rows
    assert named(rows, NAMES["teacher"]) == {
        "models": [{"agreement_with_teacher": 0.9, "gate": {"max_accuracy_drop": 0.1}}],
        "paired": {"agreement_with_teacher_drop": 0.0},
    }


def test_data_with_labels_of_its_own_says_nothing_of_them() -> None:
    assert quality_name({}).words == "accuracy"
    assert quality_name({"labels_from": "teacher"}).words == "agreement with the teacher"
