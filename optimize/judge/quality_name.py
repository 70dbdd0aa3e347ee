"""What quality is called: accuracy, micro F1 for label sets, or agreement where the teacher said what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimize.data.splits import LabelsFrom, Split, Splits


@dataclass(frozen=True, slots=True)
class QualityName:
    """`key` in files, `words` in sentences and headings."""

    key: str
    words: str


ACCURACY = QualityName("accuracy", "accuracy")
OF_LABELS: Mapping[LabelsFrom, QualityName] = {
    "data": ACCURACY,
    "teacher": QualityName("agreement_with_teacher", "agreement with the teacher"),
}
OF_LABEL_SETS: Mapping[LabelsFrom, QualityName] = {
    "data": QualityName("micro_f1", "micro F1"),
    "teacher": QualityName("micro_f1_with_teacher", "micro F1 against the teacher"),
}


def name_of(data: Split | Splits) -> QualityName:
    """The name for figures on these items."""
    return (OF_LABEL_SETS if data.multi_label else OF_LABELS)[data.labels_from]


def quality_name(described: Mapping[str, Any]) -> QualityName:
    """The name for figures on the data that `Splits.describe` describes."""
    names = OF_LABEL_SETS if described.get("problem") == "multi-label" else OF_LABELS
    return names[described.get("labels_from", "data")]


def name_of_decisions(described: Mapping[str, Any]) -> QualityName:
    """The same for figures on single decisions: a share, also where each label of a set is a decision of its own."""
    return OF_LABELS[described.get("labels_from", "data")]


def named(value: Any, name: QualityName) -> Any:
    """JSON values in which the keys `accuracy` and `accuracy_drop`, however deep, are called by `name`."""
    if isinstance(value, dict):
        keys = {"accuracy": name.key, "accuracy_drop": f"{name.key}_drop"}
        return {keys.get(key, key): named(item, name) for key, item in value.items()}
    return [named(item, name) for item in value] if isinstance(value, list | tuple) else value
