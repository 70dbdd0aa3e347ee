"""The gate of the teacher itself: one that answers near chance, or in another order of the labels, is refused.

Every other gate compares with the teacher, so nothing else would notice. The teacher is held against always answering
the most frequent label, on the selection set, before any student is trained.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import binom, binomtest

from optimize.build import Build
from optimize.errors import GateError
from optimize.judge.measure import logits_of
from optimize.judge.quality import confusion
from optimize.judge.teacher_of_sets import require_teacher_of_sets
from optimize.models.checkpoint import FreshCifarResNet, named_labels
from optimize.models.class_weights import ClassWeights, weights_of
from optimize.models.heads import HeadRules, only_numbered, order_of
from optimize.models.training import TrainingConfig
from optimize.progress import running
from serving.model.head import Decisions

NEAR = 0.9
"""A teacher that leaves at least this share of the baseline's mistakes is near chance."""
GOOD = 0.5
"""A teacher that leaves this share of them is good: few rows must not refuse it."""
LEVEL = 0.05
"""How seldom a good teacher is refused."""
LEAST_GAIN = 0.05
"""The share of rows that another order of the labels must gain to be proposed."""
ORDER_LEVEL = 0.001
"""How seldom another order is proposed where it gains nothing: it is found among all orders."""
LABELS_IN_A_MESSAGE = 20


@dataclass(frozen=True, slots=True)
class Found:
    """A teacher's accuracy and that of always answering `often`, as shares of rows that count by their weights."""

    accuracy: float
    baseline: float
    often: int
    near_chance: bool


def require_teacher(build: Build) -> None:
    """Raise GateError unless the teacher is better than chance and has its labels in their order.

    A teacher that labels the rows itself is right by definition, so it is not asked.
    """
    splits = build.splits
    if splits.labels_from == "teacher":
        return
    if splits.multi_label:
        return require_teacher_of_sets(build)
    teacher, selection = build.teacher, build.prepared("selection")
    with running("the teacher on the selection set"):
        answers = logits_of(build, teacher, selection).argmax(axis=1)
    weights = [step.class_weights for step in build.recipe.teacher if isinstance(step, TrainingConfig)]
    found = against_chance(answers, selection.targets, splits.labels, weights[0] if weights else None)
    if build.recipe.teacher:
        if found.near_chance:
            raise GateError(f"{_near(found, splits.labels)}; the training failed: {_TRAIN}")
        return
    order = better_order(answers, selection.targets, len(splits.labels))
    if order is not None:
        right = float((np.array(order)[answers] == selection.targets).mean())
        raise GateError(_in_order(build, order, found.accuracy, right))
    if found.near_chance:
        raise GateError(f"{_near(found, splits.labels)}; {_remedy(build)}")


def against_chance(
    answers: Decisions, targets: Decisions, labels: tuple[str, ...], class_weights: ClassWeights | None = None
) -> Found:
    """Hold answers against the most frequent label; rows count by the class weights that the teacher was trained with.

    Near chance means: the teacher makes at least NEAR of the mistakes that the most frequent label makes, and so many
    that one that makes GOOD of them would make as many less often than LEVEL. The second part is a binomial test, so
    that a few rows refuse nobody; rows of one label alone do not either. Rows with weights count as Kish's effective
    number of rows.
    """
    of_label = weights_of(class_weights, targets, labels)
    weights = np.ones(len(targets)) if of_label is None else of_label[targets]
    shares = np.bincount(targets, weights, minlength=len(labels)) / weights.sum()
    often, wrong = int(shares.argmax()), float(weights[answers != targets].sum() / weights.sum())
    rows = round(float(weights.sum() ** 2 / (weights**2).sum()))
    baseline_wrong = 1 - float(shares[often])
    surprise = binom.sf(np.floor(wrong * rows + 1e-9) - 1, rows, GOOD * baseline_wrong)
    near = 0 < NEAR * baseline_wrong <= wrong + 1e-9 and bool(surprise < LEVEL)
    return Found(1 - wrong, 1 - baseline_wrong, often, near)


def better_order(answers: Decisions, targets: Decisions, count: int) -> list[int] | None:
    """What each answer means in the order of the labels that gives the most right answers; None without a better one.

    The best of all orders is better than the given one by luck alone, the more so the more labels there are. So the
    order is found on every other row and tested on the rest, with a sign test of the rows that only one of the two
    gets right.
    """
    found, held = _best_order(answers[::2], targets[::2], count), slice(1, None, 2)
    ours, theirs = answers[held] == targets[held], found[answers[held]] == targets[held]
    gains, losses = int((theirs & ~ours).sum()), int((ours & ~theirs).sum())
    if gains - losses < LEAST_GAIN * max(len(ours), 1):
        return None
    if not binomtest(gains, gains + losses, alternative="greater").pvalue < ORDER_LEVEL:
        return None
    return [int(label) for label in _best_order(answers, targets, count)]


def _best_order(answers: Decisions, targets: Decisions, count: int) -> NDArray[np.int64]:
    """The label [answers] that each answer stands for, so that most rows are right (Kuhn 1955: the assignment problem).

    An answer that was never given keeps its label where that is free.
    """
    right = np.array(confusion(answers, targets, count), dtype=np.float64)
    rows, columns = linear_sum_assignment(right + 1e-6 * np.eye(count), maximize=True)
    order = np.empty(count, dtype=np.int64)
    order[columns] = rows
    return order


_TRAIN = "train longer, with another learning_rate, or look at the labels"


def _near(found: Found, labels: Sequence[str]) -> str:
    often = labels[found.often]
    return (
        f"the teacher is right on {found.accuracy:.1%} of the selection set, and always answering {often!r} on "
        f"{found.baseline:.1%}: it is near chance on these labels, and nothing is made of it"
    )


def _remedy(build: Build) -> str:
    if isinstance(build.recipe.checkpoint, FreshCifarResNet):
        return 'its weights are random: train it with [[teacher]] and step = "fine-tune"'
    return (
        "if its head has the labels in another order, list them in the checkpoint's order: labels = [...] in "
        '[data]; if it was trained on other data, add [[teacher]] with step = "fine-tune"'
    )


def _in_order(build: Build, order: Sequence[int], accuracy: float, right: float) -> str:
    labels = build.splits.labels
    theirs = named_labels(build.recipe.checkpoint, build.root)
    places = _places(build, theirs)
    listed = dict(zip(places, (labels[meant] for meant in order), strict=True))
    toml = f"labels = [{', '.join(_quoted(listed[place]) for place in sorted(listed))}]"
    trust = "" if theirs is None or only_numbered(theirs) else " and trust_label_order = true in [checkpoint]"
    if len(labels) > LABELS_IN_A_MESSAGE:
        toml = _written(build.folder / "labels.toml", toml)
    return (
        f"the teacher is right on {accuracy:.1%} of the selection set, and would be on {right:.1%} with its labels in "
        f"another order; nothing is made of it. Set {toml} in [data]{trust}, which is the checkpoint's order as far as "
        "these rows tell it"
    )


def _places(build: Build, theirs: Sequence[str] | None) -> list[int]:
    """The place in the checkpoint's own head for each label of the data."""
    labels = build.splits.labels
    trusts = getattr(build.recipe.checkpoint, "trust_label_order", True)
    rules = HeadRules(trust_order=trusts, labels_given=build.recipe.data.labels is not None)
    order = order_of(theirs, labels, rules) if theirs is not None else None
    return order if order is not None else list(range(len(labels)))


def _quoted(label: str) -> str:
    return json.dumps(label, ensure_ascii=False)


def _written(path: Path, line: str) -> str:
    path.write_text(line + "\n", encoding="utf-8")
    return f"the line that {path} holds"
