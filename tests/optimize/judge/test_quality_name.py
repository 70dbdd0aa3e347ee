from __future__ import annotations

from optimize.judge.quality_name import OF_LABELS, name_of_decisions, named, quality_name


def test_figures_are_called_by_what_they_are() -> None:
    rows = {"models": [{"accuracy": 0.9, "gate": {"max_accuracy_drop": 0.1}}], "paired": {"accuracy_drop": 0.0}}
    assert named(rows, OF_LABELS["data"]) == rows
    assert named(rows, OF_LABELS["teacher"]) == {
        "models": [{"agreement_with_teacher": 0.9, "gate": {"max_accuracy_drop": 0.1}}],
        "paired": {"agreement_with_teacher_drop": 0.0},
    }


def test_data_with_labels_of_its_own_says_nothing_of_them() -> None:
    assert quality_name({}).words == "accuracy"
    assert quality_name({"labels_from": "teacher"}).words == "agreement with the teacher"


def test_label_sets_have_a_micro_f1_and_their_single_decisions_an_accuracy() -> None:
    sets = {"problem": "multi-label"}
    assert (quality_name(sets).key, quality_name(sets).words) == ("micro_f1", "micro F1")
    assert quality_name({**sets, "labels_from": "teacher"}).words == "micro F1 against the teacher"
    assert name_of_decisions(sets).words == "accuracy"
    assert named({"accuracy": 0.9, "exact_share": 0.8}, quality_name(sets)) == {"micro_f1": 0.9, "exact_share": 0.8}
