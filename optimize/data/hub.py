"""A data set of the hub, or a local folder that `datasets` can load."""

from __future__ import annotations

from pathlib import Path

from optimize.data.image_file import ImageFile
from optimize.data.rows import Rows
from optimize.data.sources import HubData
from optimize.errors import DataError


def read_hub(config: HubData, root: Path) -> tuple[Rows, Rows | None]:
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

    def rows(split: str) -> Rows:
        if split not in stored:
            raise DataError(f"data set {config.id} has no split {split!r}; it has {', '.join(stored)}")
        part = stored[split]
        for column in (config.input_column, config.label_column):
            if column not in part.column_names:
                raise DataError(f"data set {config.id} has no column {column!r}; it has {', '.join(part.column_names)}")
        names = getattr(part.features[config.label_column], "names", None)
        labels = [names[v] if names else str(v) for v in part[config.label_column]]
        ids = [f"{split}:{i}" for i in range(len(part))]
        classes = tuple(names) if names else None
        if not isinstance(part.features[config.input_column], Image):
            return Rows("text", list(part[config.input_column]), labels, ids, config.id, classes=classes)
        files = part.cast_column(config.input_column, Image(decode=False))[config.input_column]
        for name, file in zip(ids, files, strict=True):
            if file is None:
                raise DataError(f"data set {config.id}: row {name} has no image; take it out")
        images = [ImageFile(name, file["bytes"] or Path(file["path"])) for name, file in zip(ids, files, strict=True)]
        return Rows("image", images, labels, ids, config.id, classes=classes)

    return rows(config.train), rows(config.holdout) if config.holdout else None
