"""The rows that can be used: those with an input and a label. Images are decoded once, before anything is trained."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from optimize.data.cells import labels_of, texts_of
from optimize.data.image_file import ImageFile
from optimize.data.known_files import KnownFiles, file_key
from optimize.data.label_sets import label_sets_of
from optimize.data.rows import Fault, Found, Rows
from optimize.data.said import MOST_NAMES, row_of, tell
from optimize.data.sequences import Lazy, chosen
from optimize.data.sources import AnyData
from optimize.data.stored_texts import GrowingTexts, StoredTexts, Texts
from optimize.errors import DataError
from optimize.progress import progress
from serving.model.text import TextPair

SHA256_BYTES = 32
CELLS_AT_ONCE = 4_096
IMAGES_AT_ONCE = 256
# Each holds a decoded image, of up to 40 megapixels.
MOST_THREADS = 4


def usable(found: Found, config: AnyData, *, folder: Path | None, labelled: bool = True) -> Rows:
    """The rows with an input and a label; images are decoded, unless `folder` remembers that they were.

    Rows that are not `labelled` get empty labels, whatever the source holds. Raises DataError, with how many of each
    kind and the first of them, if `bad_rows` says so or no row is left.
    """
    labels, notes = _labels(found, config) if labelled else ([""] * len(found.ids), [])
    faults = dict(found.faults)
    inputs: Sequence[Any] = found.inputs
    if found.kind == "text":
        inputs = _texts(inputs, found.ids, found.input_name, folder)
    seconds = None if found.seconds is None else _texts(found.seconds, found.ids, found.second_name, folder)
    for name, cells in ((found.input_name, inputs), (found.second_name, seconds or ()), (found.label_name, labels)):
        for place, cell in enumerate(cells):
            if cell is None:
                faults.setdefault(place, Fault(f"no {name!r}"))
    if seconds is not None:
        inputs = _pairs(inputs, seconds)
    if found.kind == "image" and len(inputs) and not hasattr(inputs[0], "dtype"):
        inputs = _images(found, faults, folder)
    if faults:
        said = _say(found, faults)
        if config.bad_rows == "refuse" or len(faults) == len(found.ids):
            raise DataError(f'data {found.source}: {said}; mend them or take them out, or set bad_rows = "leave-out"')
        notes.append(f"left out: {said}")
    for note in (*found.notes, *notes):
        tell(found.source, note)
    ids: Sequence[str] = found.ids
    if faults:
        is_kept = np.ones(len(ids), dtype=np.bool_)
        is_kept[list(faults)] = False
        kept = np.flatnonzero(is_kept)
        inputs, ids, labels = chosen(inputs, kept), chosen(ids, kept), [labels[place] for place in kept.tolist()]
    return Rows(
        found.kind,
        inputs,
        list(labels),
        ids,
        found.source,
        synthetic=found.synthetic,
        classes=found.classes,
        notes=(*found.notes, *notes),
    )


def _labels(found: Found, config: AnyData) -> tuple[Sequence[Any], list[str]]:
    """The label or the label set of each row, None where it is missing, and what was put right."""
    if config.multi_label:
        separator = getattr(config, "label_separator", "|")
        return label_sets_of(found.labels, found.ids, found.label_name, separator, found.classes), []
    return labels_of(found.labels, found.ids, found.label_name)


def _texts(cells: Sequence[Any], ids: Sequence[str], name: str, folder: Path | None) -> Texts:
    """The text of each cell, None where there is none."""
    if isinstance(cells, StoredTexts):
        return cells
    texts = GrowingTexts(folder)
    for start in range(0, len(cells), CELLS_AT_ONCE):
        at = slice(start, start + CELLS_AT_ONCE)
        texts.extend(texts_of(cells[at], ids[at], name))
    return texts.done()


def _pairs(first: Texts, second: Texts) -> Sequence[TextPair | None]:
    def pair(place: int) -> TextPair | None:
        one, other = first[place], second[place]
        return None if one is None or other is None else TextPair(one, other)

    pairs = Lazy(len(first), pair)
    return pairs if isinstance(first, StoredTexts) or isinstance(second, StoredTexts) else list(pairs)


def _say(found: Found, faults: dict[int, Fault]) -> str:
    """How many rows cannot be used, of each kind, and the first of them."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for place, fault in sorted(faults.items()):
        kinds[fault.what].append(fault.detail or row_of(found.ids[place]))
    said = []
    for what, rows in kinds.items():
        # A detail is a sentence of its own, so one is enough.
        most = 1 if any(fault.detail for fault in faults.values() if fault.what == what) else MOST_NAMES
        said.append(f"{len(rows):,} with {what} ({', '.join(rows[:most])}{', …' if len(rows) > most else ''})")
    noun = "images" if found.kind == "image" else "rows"
    return f"{len(faults):,} of {len(found.ids):,} {noun} cannot be used: {', '.join(said)}"


def _images(found: Found, faults: dict[int, Fault], folder: Path | None) -> list[ImageFile | None]:
    """An ImageFile for each row without a fault; damaged ones are added to `faults`."""
    whole, known = _Whole(folder), KnownFiles(folder)

    def opened(place: int) -> ImageFile | DataError | None:
        if place in faults:
            return None
        content, row_id = found.inputs[place], found.ids[place]
        name = row_of(row_id) if isinstance(content, bytes) else str(content)
        key = file_key(content)  # before the file is read: it may be changed meanwhile
        sha256 = known.digest(key)
        if sha256 is not None and sha256 in whole:
            return ImageFile(name, content, sha256)
        try:
            image = ImageFile(name, content)
            if image.sha256 not in whole:
                image.require_whole()
        except DataError as error:
            return error
        known.add(key, image.sha256)
        return image

    images: list[ImageFile | None] = []
    size = len(found.ids)
    threads = min(os.cpu_count() or 1, MOST_THREADS)
    try:
        with progress("images decoded", size) as count, ThreadPoolExecutor(threads) as pool:
            for start in range(0, size, IMAGES_AT_ONCE):
                places = range(start, min(start + IMAGES_AT_ONCE, size))
                for place, image in zip(places, pool.map(opened, places), strict=True):
                    if isinstance(image, DataError):
                        faults[place] = Fault("a file that is no whole image", str(image).removeprefix("data "))
                    images.append(image if isinstance(image, ImageFile) else None)
                count(len(places))
    finally:
        # A run that is stopped here knows the next time what it has read.
        whole.add(image.sha256 for image in images if image)
        known.save()
    return images


class _Whole:
    """Digests of the image files that this version of Pillow has decoded; `folder` keeps them for the next run."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder and folder / f"decoded-by-pillow-{PIL.__version__}.sha256"
        data = self._path.read_bytes() if self._path and self._path.exists() else b""
        self._known = {data[start : start + SHA256_BYTES] for start in range(0, len(data), SHA256_BYTES)}

    def __contains__(self, sha256: bytes) -> bool:
        return sha256 in self._known

    def add(self, digests: Iterable[bytes]) -> None:
        new = set(digests) - self._known
        if self._path and new:
            beside = self._path.with_suffix(".new")
            beside.write_bytes(b"".join(sorted(self._known | new)))
            beside.replace(self._path)  # a run that is stopped leaves the old list or the new one
