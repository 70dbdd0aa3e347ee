"""Class weights: how much a row of each label counts in the loss on the data's own labels."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from optimize.data.targets import counts_of
from optimize.errors import StepError
from serving.model.head import Decisions

ClassWeights = Literal["balanced"] | dict[str, Annotated[float, Field(gt=0)]]
"""`balanced` gives every label the same say; a table names the weights of some labels, and the others have 1."""


def weights_of(wanted: ClassWeights | None, targets: Decisions, labels: tuple[str, ...]) -> NDArray[np.float64] | None:
    """The weight of each label [labels]; None when every row counts alike.

    `targets` are what `balanced` counts: rows / (labels x rows of the label), as in scikit-learn. A row with several
    labels counts once for each. Raises StepError when a table names a label that the data does not have.
    """
    if wanted is None:
        return None
    if wanted == "balanced":
        counts = counts_of(targets, len(labels))
        there = np.count_nonzero(counts)
        return np.asarray(counts.sum() / (there * np.maximum(counts, 1)), dtype=np.float64)
    require_labels("class_weights", wanted, labels)
    return np.array([wanted.get(label, 1.0) for label in labels], dtype=np.float64)


def require_labels(setting: str, named: Collection[str] | None, labels: tuple[str, ...]) -> None:
    """Raise StepError when a setting names a label that is not there; "balanced" and None name none."""
    unknown = [] if named is None or named == "balanced" else sorted(set(named) - set(labels))
    if unknown:
        raise StepError(
            f"{setting} must name labels of the data, got {unknown[0]!r}; name some of its {len(labels)}, such as "
            f"{labels[0]!r}"
        )
