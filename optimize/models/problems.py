"""Problems: whether a checkpoint's head gives an item one label or every label that fits, as transformers names it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from optimize.errors import CheckpointError

ProblemType = Literal["single_label_classification", "multi_label_classification"]


def problem_type_of(*, multi_label: bool) -> ProblemType:
    """transformers' name for what the data asks for."""
    return "multi_label_classification" if multi_label else "single_label_classification"


def require_problem(folder: Path, theirs: str | None, wanted: ProblemType) -> None:
    """Raise CheckpointError when a trained head says that it was made for another problem than the data's.

    `theirs` is `problem_type` of the checkpoint's config. Many checkpoints leave it out; the data then decides.
    """
    if theirs in (None, wanted):
        return
    if wanted == "single_label_classification":
        raise CheckpointError(
            f"checkpoint {folder} gives an item every label that fits (its problem_type is {theirs}), and the data has "
            'one label a row; set problem = "multi-label" in [data] and bring rows with all their labels, or train a '
            'head for one label with [[teacher]] and step = "fine-tune"'
        )
    raise CheckpointError(
        f"checkpoint {folder} gives an item exactly one label (its problem_type is {theirs}), and [data] says "
        'problem = "multi-label"; leave that out for rows with one label each, or train a head for several with '
        '[[teacher]] and step = "fine-tune"'
    )
