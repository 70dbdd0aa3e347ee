"""How traffic differs from a recipe's data: the confidences of the screen, lengths, and the expert's labels.

Each is a population stability index, as drift in service is. By convention, one acts on a shift above 0.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from optimize.data.targets import counts_of
from optimize.judge.operating_point import reference
from optimize.judge.stages import Stages
from serving.cascade.drift import stability_index

SHIFTED = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Population stability indices of the traffic against the recipe's selection set; the share of each label in both.

    The shares are of what the expert says, since traffic has no labels. `lengths` is None where all items are of one
    length.
    """

    confidences: float
    lengths: float | None
    labels: float
    label_shares: Mapping[str, tuple[float, float]]

    @property
    def sentences(self) -> list[str]:
        """What a reader has to know of them."""
        said = []
        indices = {"confidences": self.confidences, "lengths": self.lengths, "labels": self.labels}
        for what, index in indices.items():
            if index is not None:
                verdict = "another distribution" if index > SHIFTED else "much the same"
                said.append(f"{what}: index {index:.3f} against the recipe's data, {verdict}")
        moved = sorted(self.label_shares.items(), key=lambda entry: abs(entry[1][1] - entry[1][0]), reverse=True)
        if self.labels > SHIFTED and moved:
            label, (before, now) = moved[0]
            said.append(f"{label} is {now:.1%} of the expert's answers, and was {before:.1%} in the recipe's data")
        return said


def differences(
    before: Stages,
    now: Stages,
    temperature: float,
    lengths: tuple[NDArray[np.int64], NDArray[np.int64]],
) -> Differences:
    """How `now` differs from `before`; `lengths` of the items of both, each [items]."""
    shares = [_label_shares(stages) for stages in (before, now)]
    one_length = len(np.unique(np.concatenate(lengths))) == 1
    return Differences(
        confidences=_index(before.confidences(temperature), now.confidences(temperature)),
        lengths=None if one_length else _index(*(each.astype(np.float64) for each in lengths)),
        labels=stability_index(shares[0].tolist(), _counts(now).tolist()),
        label_shares={
            label: (float(then), float(later)) for label, then, later in zip(before.labels, *shares, strict=True)
        },
    )


def _index(before: NDArray[np.float64], now: NDArray[np.float64]) -> float:
    known = reference(before)
    counts: Sequence[int] = np.bincount(
        np.searchsorted(known.edges, now, side="right"), minlength=len(known.shares)
    ).tolist()
    return stability_index(known.shares, counts)


def _counts(stages: Stages) -> NDArray[np.int64]:
    return np.asarray(counts_of(stages.decisions[1], len(stages.labels)), dtype=np.int64)


def _label_shares(stages: Stages) -> NDArray[np.float64]:
    counts = _counts(stages)
    return counts / max(1, int(counts.sum()))
