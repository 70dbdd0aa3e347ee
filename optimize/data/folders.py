"""Image folders with one sub-folder for each label."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from optimize.data.image_file import ImageFile
from optimize.data.rows import Rows, existing
from optimize.errors import DataError
from optimize.progress import console

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}


def read_folder(path: Path, root: Path) -> Rows:
    full = existing(path, root)
    there = sorted(p for p in full.glob("[!.]*/[!.]*") if p.is_file())
    files = [p for p in there if p.suffix.lower() in IMAGE_SUFFIXES]
    if not files:
        raise DataError(f"data {full} has no images in sub-folders; lay it out as LABEL/NAME.jpg (or .png, .webp, …)")
    _tell_left_out(full, there, files)
    labels = [file.parent.name for file in files]
    inputs = [ImageFile(str(file), file) for file in files]
    return Rows("image", inputs, labels, [file.relative_to(full).as_posix() for file in files], full.name)


def _tell_left_out(folder: Path, there: list[Path], files: list[Path]) -> None:
    """Say how many files are left out. Raises DataError if a label would have none."""
    left_out = Counter(p.suffix.lower() for p in there if p.suffix.lower() not in IMAGE_SUFFIXES)
    for label in sorted({p.parent.name for p in there} - {p.parent.name for p in files}):
        raise DataError(
            f"data {folder}: the label {label} has only files that are not read as images; convert them to JPEG or "
            "PNG, or take the folder out"
        )
    if left_out:
        said = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in left_out.most_common())
        console.print(f"data {folder}: {left_out.total()} files are not read as images and left out: {said}")
