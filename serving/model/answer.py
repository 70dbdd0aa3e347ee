"""Turns logits into answers: label, confidence (the largest softmax share) and margin (to the second largest)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from serving.arrays import Logits


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A stage's answer for one item. `scores` are probabilities of the labels, in the order of the artifact's.

    `label`: the label, or from a sigmoid head a tuple of all that are given (see `serving.model.head`).
    """

    label: str | tuple[str, ...]
    confidence: float
    margin: float
    scores: tuple[float, ...]


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Softmax over the last axis in float64; float32 or float16 [batch, labels] in, [batch, labels] out."""
    # The ufuncs themselves: for a row of a few labels the methods `max` and `sum` cost more than what they compute.
    shifted = logits.astype(np.float64) - np.maximum.reduce(logits, axis=-1, keepdims=True)
    exponentials = np.exp(shifted)
    return np.asarray(exponentials / np.add.reduce(exponentials, axis=-1, keepdims=True))


def answers_from_logits(logits: Logits, labels: Sequence[str], temperature: float = 1.0) -> list[Answer]:
    """One Answer for each row of `logits` [batch, labels], whose scores are softmax(logits / temperature).

    The label is that of the largest logit, as the certificate has it.
    """
    answers = []
    for i, row in enumerate(softmax(logits / np.float32(temperature)).tolist()):
        first, second = sorted(row, reverse=True)[:2]
        # Two logits can lie so close that rounding makes their shares equal.
        chosen = row.index(first) if first > second else int(logits[i].argmax())
        answers.append(Answer(label=labels[chosen], confidence=first, margin=first - second, scores=tuple(row)))
    return answers
