"""What the share of right answers is called: accuracy, or agreement where the teacher itself said what is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optimize.data.splits import LabelsFrom


@dataclass(frozen=True, slots=True)
class QualityName:
    """`key` in files, `words` in sentences and headings."""

    key: str
    words: str


NAMES: Mapping[LabelsFrom, QualityName] = {
    "data": QualityName("accuracy", "accuracy"),
    "teacher": QualityName("agreement_with_teacher", "agreement with the teacher"),
}


def quality_name(data: Mapping[str, Any]) -> QualityName:
    """The name for figures on the data that `Splits.describe` describes."""
    return NAMES[data.get("labels_from", "data")]


def named(value: Any, name: QualityName) -> Any:
    """JSON values in which the keys `accuracy` and `accuracy_drop`, however deep, are called by `name`."""
    if isinstance(value, dict):
        keys = {"accuracy": name.key, "accuracy_drop": f"{name.key}_drop"}
        return {keys.get(key, key): named(item, name) for key, item in value.items()}
    return [named(item, name) for item in value] if isinstance(value, list | tuple) else value
