"""Heads: fit the classifier of a checkpoint to the labels of the data and their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.problems import problem_type_of, require_problem
from optimize.models.saved import Task, auto_class


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadRules:
    """What a recipe says of the checkpoint's head."""

    fresh: bool = False
    """A new head may replace one that is missing or of another size, since the teacher is trained."""
    trust_order: bool = False
    """The head's labels come in the order of the data's, though they have other names."""
    multi_label: bool = False
    """The data's items have every label that fits, and not exactly one."""
    labels_given: bool = False
    """The recipe lists the labels, which is their order in a head that only numbers its own (LABEL_0, LABEL_1)."""


def label_maps(labels: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a model's config that name its labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def names_in(folder: Path) -> tuple[str, ...]:
    """The names of a checkpoint's labels, in the order of its head."""
    names = AutoConfig.from_pretrained(folder).id2label
    return tuple(str(names[index]) for index in sorted(names))


def only_numbered(names: Sequence[str]) -> bool:
    """Whether the names are those that transformers gives to labels without any: LABEL_0, LABEL_1 and so on."""
    return all(re.fullmatch(r"LABEL_\d+", name) for name in names)


def with_head(folder: Path, task: Task, labels: tuple[str, ...], rules: HeadRules) -> PreTrainedModel:
    """The model in `folder` with a head for `labels`, in their order.

    Raises CheckpointError when there is no trained head, when it is one for another problem, or when it answers with
    other labels and `rules` do not say which is which.
    """
    theirs, theirs_for = names_in(folder), AutoConfig.from_pretrained(folder).problem_type
    regression = theirs_for == "regression" or len(theirs) == 1
    if regression and not rules.fresh:
        raise CheckpointError(
            f"checkpoint {folder} has a head for regression (a number, no label), and a cascade answers with labels; "
            'train a head for labels with [[teacher]] and step = "fine-tune", or name another checkpoint'
        )
    wanted = problem_type_of(multi_label=rules.multi_label)
    if not rules.fresh:
        require_problem(folder, theirs_for, wanted)
    kind = {"problem_type": wanted} if regression or rules.multi_label or theirs_for not in (None, wanted) else {}
    model: PreTrainedModel
    model, report = auto_class(task).from_pretrained(
        folder, **label_maps(labels), **kind, ignore_mismatched_sizes=True, output_loading_info=True
    )
    missing, of_another_size = report["missing_keys"], [key for key, *_ in report["mismatched_keys"]]
    if not rules.fresh:
        _require_trained(folder, missing, of_another_size, theirs, labels)
    if not missing and not of_another_size:
        put_in_order(model, theirs, labels, rules, folder)
    return model


def put_in_order(
    model: PreTrainedModel, theirs: Sequence[str], labels: Sequence[str], rules: HeadRules, folder: Path
) -> None:
    """Put the head of a model that answers with the labels `theirs` into the order of `labels`.

    Raises CheckpointError when these are other labels, unless `rules` let the head be trained anew.
    """
    order = order_of(theirs, labels, rules)
    if order is None and not rules.fresh:
        raise CheckpointError(f"checkpoint {folder} {unlike(theirs, labels)}")
    if order is not None:
        _reorder(head_of(model), order)


def order_of(theirs: Sequence[str], labels: Sequence[str], rules: HeadRules) -> list[int] | None:
    """The place in the head for each of `labels`; None when neither names nor `rules` tell it.

    Names that differ only in case, spaces, hyphens and underscores are the same. LABEL_2 is the label "2" where the
    data's labels are such numbers.
    """
    as_listed = list(range(len(labels)))
    if rules.labels_given and (rules.trust_order or only_numbered(theirs)):
        return as_listed
    ours = [_folded(label) for label in labels]
    for names in ([_folded(name) for name in theirs], [name.removeprefix("LABEL_") for name in theirs]):
        if sorted(names) == sorted(ours) and len(set(names)) == len(names):
            return [names.index(label) for label in ours]
    return as_listed if rules.trust_order else None


def head_of(model: PreTrainedModel) -> nn.Linear:
    """The layer that computes the logits: the last linear one behind the encoder with an output for each label."""
    inside = set() if model.base_model is model else set(model.base_model.modules())
    behind = [module for module in model.modules() if isinstance(module, nn.Linear) and module not in inside]
    fitting = [module for module in behind if module.out_features == model.config.num_labels]
    if not fitting:
        raise CheckpointError(
            f"a {model.config.model_type} has no linear layer with {model.config.num_labels} outputs behind its "
            "encoder, so its labels cannot be put in order; name them as the checkpoint does, in its order"
        )
    return fitting[-1]


def few(names: Sequence[str]) -> str:
    """The first names of a list that may be long."""
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _reorder(head: nn.Linear, order: list[int]) -> None:
    head.weight.data = head.weight.data[order]
    if head.bias is not None:
        head.bias.data = head.bias.data[order]


def _require_trained(
    folder: Path, missing: list[str], of_another_size: list[str], theirs: Sequence[str], labels: Sequence[str]
) -> None:
    if missing:
        random = few(sorted(missing))
        raise CheckpointError(
            f"checkpoint {folder} has no trained head for {len(labels)} labels ({random} would be random); add "
            '[[teacher]] with step = "fine-tune", or name a checkpoint that was trained on these labels'
        )
    if of_another_size:
        raise CheckpointError(
            f"checkpoint {folder} has a head for {len(theirs)} labels ({few(theirs)}), and the data has {len(labels)} "
            f"({few(labels)}); mend the data's labels, or train a new head with [[teacher]] and "
            'step = "fine-tune"'
        )


def unlike(theirs: Sequence[str], labels: Sequence[str]) -> str:
    """What is wrong with a head whose labels are none of the data's, and the remedy."""
    if only_numbered(theirs):
        return (
            f"only numbers its labels ({few(theirs)}), and the data has {few(labels)}; list the data's labels in the "
            "checkpoint's order, labels = [...] in [data]. Where you do not know it, set trust_label_order = true: a "
            "wrong order is refused, and the right one proposed where the rows tell it"
        )
    return (
        f"answers with the labels {few(theirs)}, and the data has {few(labels)}; name the data's labels as the "
        "checkpoint does, or set trust_label_order = true where they come in the same order"
    )


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip()
