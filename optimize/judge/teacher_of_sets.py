"""The gate of a teacher that gives label sets: one that is hardly better than the same set for all is refused."""

from __future__ import annotations

from optimize.build import Build
from optimize.errors import GateError
from optimize.judge.measure import logits_of
from optimize.models.decisions import best_constant, head_for, score
from optimize.progress import running

NEAR = 0.9
"""A teacher that leaves at least this share of what the best constant set misses of a micro F1 of 1 is near chance."""


def require_teacher_of_sets(build: Build) -> None:
    """Raise GateError unless the teacher's label sets are better than the best set that is the same for all items.

    Its thresholds are those that are best for it on the same items, which is in its favour.
    """
    teacher, selection = build.teacher, build.prepared("selection")
    with running("the teacher on the selection set"):
        logits = logits_of(build, teacher, selection)
    targets = selection.targets
    reached = score(head_for(logits, targets).decide(logits), targets)
    constant = best_constant(targets, len(build.splits.labels))
    # Written so that NaN fails.
    if 1 - reached < NEAR * (1 - constant.score):
        return
    names = " and ".join(repr(build.splits.labels[index]) for index in constant.labels[:6])
    remedy = (
        "train longer, with another learning_rate, or look at the labels"
        if build.recipe.teacher
        else "if its head has the labels in another order, list them in the checkpoint's order: labels = [...] in "
        '[data]; if it was trained on other data, add [[teacher]] with step = "fine-tune"'
    )
    raise GateError(
        f"the teacher reaches a micro F1 of {reached:.1%} on the selection set, and always answering {names} reaches "
        f"{constant.score:.1%}: it is near chance on these labels, and nothing is made of it; {remedy}"
    )
