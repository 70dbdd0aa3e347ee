"""A data set of the hub, or a local folder that `datasets` can load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from optimize.data.label_columns import labels_in, names_in
from optimize.data.rows import Fault, Found
from optimize.data.said import nearest, some
from optimize.data.sequences import row_ids
from optimize.data.sources import HubData
from optimize.data.stored import class_names
from optimize.errors import DataError


def read_hub(config: HubData, root: Path) -> tuple[Found, Found | None]:
    """The rows of the split to train on, and those of the holdout."""
    from datasets import Image, load_dataset
    from datasets.exceptions import DatasetNotFoundError

    local = root / config.id
    name = str(local) if local.is_dir() else config.id
    try:
        stored = load_dataset(name, config.config, revision=None if local.is_dir() else config.revision)
    except (DatasetNotFoundError, OSError, ValueError) as error:
        raise DataError(
            f"data set {config.id} could not be had from the hub ({type(error).__name__}) and is not in its cache; "
            'bring its files to this machine and use source = "files" or "folder"'
        ) from None

    def found(split: str) -> Found:
        if split not in stored:
            raise DataError(f"data set {config.id} has no split {split!r}; it has {some(stored)}")
        part = stored[split]
        second = config.text_pair_column
        labelled = config.label_columns or (config.label_column,)
        for column in (config.input_column, *labelled, *([second] if second else [])):
            if column not in part.column_names:
                close = nearest(column, part.column_names)
                raise DataError(
                    f"data set {config.id} has no column {column!r}; it has {some(part.column_names)}"
                    f"{f' (did you mean {close!r}?)' if close else ''}"
                )
        is_image = isinstance(part.features[config.input_column], Image)
        if is_image:
            part = part.cast_column(config.input_column, Image(decode=False))
        labels, classes, faults = _labels(part, config)
        inputs = part[config.input_column]  # read where it lies, as the second texts are
        return Found(
            "image" if is_image else "text",
            [file and (file["bytes"] or Path(file["path"])) for file in inputs] if is_image else inputs,
            labels,
            row_ids([(split, len(part))]),
            config.id,
            config.input_column,
            config.label_column,
            classes=classes,
            faults=faults,
            seconds=part[second] if second else None,
            second_name=second or "",
        )

    return found(config.train), found(config.holdout) if config.holdout else None


def _labels(part: Any, config: HubData) -> tuple[list[Any], tuple[str, ...] | None, dict[int, Fault]]:
    """The labels of a split, the names of all labels where it states them, and why rows have none, by place."""
    if config.label_columns:
        labels, faults = labels_in({name: part[name] for name in config.label_columns}, several=config.multi_label)
        return labels, names_in(config.label_columns), faults
    feature, labels = part.features[config.label_column], part[config.label_column]
    names = getattr(getattr(feature, "feature", feature), "names", None)  # of a list's values, where it is one
    named = class_names(labels, names) if names and not config.multi_label else list(labels)
    return named, tuple(names) if names else None, {}
