"""Heads: fit the classifier of a checkpoint to the labels of the data and their order."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers import AutoConfig, PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.saved import Task, auto_class


def label_maps(labels: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a model's config that name its labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def with_head(
    folder: Path, task: Task, labels: tuple[str, ...], fresh_head: bool, trust_order: bool
) -> PreTrainedModel:
    """The model in `folder` with a head for `labels`, in their order.

    With `fresh_head`, a new head replaces one that is missing or of another size. Raises CheckpointError when there is
    no trained head, or when it answers with other labels and `trust_order` does not say that the order is the same.
    """
    names = AutoConfig.from_pretrained(folder).id2label
    theirs = tuple(names[index] for index in sorted(names))
    model: PreTrainedModel
    model, report = auto_class(task).from_pretrained(
        folder, **label_maps(labels), ignore_mismatched_sizes=True, output_loading_info=True
    )
    fresh = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
    if fresh and not fresh_head:
        raise CheckpointError(
            f"checkpoint {folder} has no trained head for {len(labels)} labels ({', '.join(sorted(fresh))} would be "
            'random); add [[teacher]] with step = "fine-tune", or name a checkpoint that was trained on these labels'
        )
    if not (fresh or fresh_head or trust_order):
        put_in_order(model, theirs, labels, folder)
    return model


def put_in_order(model: PreTrainedModel, theirs: tuple[str, ...], labels: tuple[str, ...], folder: Path) -> None:
    """Put the head of a checkpoint that answers with the labels `theirs` into the order of `labels`.

    Raises CheckpointError when these are other labels.
    """
    if theirs == labels:
        return
    if set(theirs) != set(labels):
        raise CheckpointError(
            f"checkpoint {folder} answers with the labels {_few(theirs)}, and the data has {_few(labels)}; name the "
            "data's labels as the checkpoint does, or set trust_label_order = true where they come in the same order"
        )
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    order = [theirs.index(label) for label in labels]
    head.weight.data, head.bias.data = head.weight.data[order], head.bias.data[order]


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
