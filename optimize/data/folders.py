"""Image folders with one sub-folder for each label, or a zip of one."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimize.data.rows import Found, existing
from optimize.data.said import counted, some
from optimize.data.sources import FolderData
from optimize.data.split_names import WORDS, divided
from optimize.errors import DataError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
# Written by systems and programs, as are names that start with a dot.
HIDDEN = {"__MACOSX", "Thumbs.db", "ehthumbs.db", "desktop.ini", "@eaDir", "$RECYCLE.BIN"}
LAYOUT = "lay it out as LABEL/NAME.jpg (or .png, .webp, …)"


@dataclass(frozen=True, slots=True)
class FoundFile:
    """`parts` are its path's names, from the folder of labels on; `content` has `read_bytes`. A folder has none."""

    parts: tuple[str, ...]
    id: str
    content: Any

    @property
    def is_image(self) -> bool:
        return Path(self.parts[-1]).suffix.lower() in IMAGE_SUFFIXES


def read_folder(config: FolderData, root: Path) -> tuple[Found, Found | None]:
    """The images below a folder or in a zip, and those of the holdout."""
    full = existing(config.train, root)
    notes: list[str] = []
    files = _below_one_folder(files_of(full, notes), notes)
    held: list[FoundFile] | None = None
    tops = {file.parts[0] for file in files}
    if len(tops) > 1 and all(top.lower() in WORDS for top in tops):
        files, held = _splits(files, config, notes, full)
    found = _labelled(files, full, notes)
    if config.holdout is not None:
        other, notes = existing(config.holdout, root), []
        return found, _labelled(_below_one_folder(files_of(other, notes), notes), other, notes)
    return found, _labelled(held, full, []) if held else None


def files_of(path: Path, notes: list[str]) -> list[FoundFile]:
    """All files and empty folders, sorted, without the hidden ones."""
    hidden: Counter[str] = Counter()
    if path.is_dir():
        found = _walk(path, hidden)
    elif zipfile.is_zipfile(path):
        found = _members(path, hidden)
    else:
        raise DataError(f"data {path} must be a folder or a zip of one, got another file; {LAYOUT}")
    files = sorted(found, key=lambda file: file.parts)
    if hidden:
        notes.append(f"passed over as hidden: {some(sorted(hidden))} ({counted(hidden.total(), 'time')})")
    return files


def is_hidden(name: str) -> bool:
    """Whether a file or a folder is one of a system or a program, by its name."""
    return name.startswith(".") or name in HIDDEN


def _walk(path: Path, hidden: Counter[str]) -> Iterator[FoundFile]:
    seen: set[str] = set()
    for folder, folders, names in os.walk(path, followlinks=True):
        # A link to a folder above it would never end.
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        hidden.update(name for name in (*folders, *names) if is_hidden(name))
        folders[:] = [name for name in folders if not is_hidden(name)]
        visible = [name for name in names if not is_hidden(name)]
        place = Path(folder).relative_to(path).parts
        # A folder without files may be a label's.
        for name in visible if visible or folders or not place else [""]:
            yield FoundFile((*place, name), "/".join((*place, name)), Path(folder) / name)


def _members(path: Path, hidden: Counter[str]) -> Iterator[FoundFile]:
    archive = zipfile.ZipFile(path)  # its images are read from it as long as the run goes on
    passed_over = set()
    for name in archive.namelist():
        parts = tuple(name.replace("\\", "/").split("/"))  # a folder ends with a slash
        if first := next((place for place, part in enumerate(parts) if is_hidden(part)), None):
            passed_over.add(parts[: first + 1])
        elif is_hidden(parts[0]):
            passed_over.add(parts[:1])
        elif parts[-1]:
            yield FoundFile(parts, name, zipfile.Path(archive, name))
    hidden.update(parts[-1] for parts in passed_over)


def _below_one_folder(files: list[FoundFile], notes: list[str]) -> list[FoundFile]:
    """The files with the labels' folders first, where one folder stands around them."""
    within: list[str] = []
    while len({file.parts[0] for file in files}) == 1 and any(len(file.parts) > 2 for file in files):
        within.append(files[0].parts[0])
        files = [_inside(file) for file in files]
    if within:
        notes.append(f"the labels are the folders in {'/'.join(within)}/")
    return files


def _inside(file: FoundFile) -> FoundFile:
    return dataclasses.replace(file, parts=file.parts[1:] if len(file.parts) > 1 else file.parts)


def _splits(
    files: Sequence[FoundFile], config: FolderData, notes: list[str], full: Path
) -> tuple[list[FoundFile], list[FoundFile] | None]:
    """The files of train/ and of val/ or test/, with the labels' folders first."""
    if not any(len(file.parts) > 2 for file in files):
        raise DataError(f"data {full}: {some(sorted({f.parts[0] for f in files}))} hold no folders of labels; {LAYOUT}")
    named = [(WORDS[file.parts[0].lower()], _inside(file)) for file in files]
    train, held = divided(named, to_choose_on=config.selection_from, notes=notes)
    if config.holdout is not None and held is not None:
        gone = counted(len(held), "file")
        notes[-1:] = [f"only train is read of its splits, since the recipe names a holdout; left out: {gone}"]
    return train, None if config.holdout is not None else held


def _labelled(files: Iterable[FoundFile], full: Path, notes: list[str]) -> Found:
    there = list(files)
    below = [file for file in there if len(file.parts) > 1]
    images = [file for file in below if file.is_image]
    if not images:
        raise DataError(f"data {full} has no images in sub-folders; {LAYOUT}")
    if gone := sorted({file.parts[0] for file in below} - {file.parts[0] for file in images}):
        raise DataError(
            f"data {full}: labels whose folders hold no files that are read as images: {some(gone)}; convert the files "
            "to JPEG or PNG, or take the folders out"
        )
    if stray := [file for file in there if len(file.parts) == 1 and file.is_image]:
        names = some(file.parts[-1] for file in stray)
        notes.append(f"left out: {counted(len(stray), 'image')} in no label's folder ({names})")
    kinds = Counter(Path(file.parts[-1]).suffix.lower() for file in there if file.parts[-1] and not file.is_image)
    if kinds:
        said = some(f"{count} {suffix or 'without a suffix'}" for suffix, count in kinds.most_common())
        notes.append(f"left out: {counted(kinds.total(), 'file')} not read as images ({said})")
    if deeper := sum(len(file.parts) > 2 for file in images):
        notes.append(f"{counted(deeper, 'image')} in folders inside a label's folder, read with that label")
    labels = [file.parts[0] for file in images]
    ids, contents = [file.id for file in images], [file.content for file in images]
    return Found("image", contents, labels, ids, full.name, "image", "label", notes=notes)
