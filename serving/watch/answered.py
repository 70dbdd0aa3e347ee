"""What was answered, remembered for a while, so that the right label may be told later. No content is kept.

Each process of a server writes its answers into a file of its own in a folder that all of them share, in a ring: the
oldest is overwritten. A file is mapped into memory, so to remember an answer takes no call of the kernel, and another
process finds it at once: whichever gets the feedback looks into all files. What is told lies in a part of the file that
only who tells it writes, with the digest of the answer that it is about, so an answer that is overwritten meanwhile
takes nothing over. The kernel gives a file back when its process ends, and the next one that starts goes on in it.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import struct
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serving.cascade.modality import Modality
from serving.errors import AlreadyToldError, InvalidInputError, NotRememberedError
from serving.watch.record import RequestRecord

ANSWER = struct.Struct("<16sQQQQQ")
"""Digest of request id and item, cascade, what was answered, what screen and expert said, and when."""
TOLD = struct.Struct("<16sQ")
ANSWER_FIELDS = np.dtype(
    [(name, "<u8") for name in ("first", "second", "cascade", "answer", "screen", "expert", "at_ns")]
)
TOLD_FIELDS = np.dtype([(name, "<u8") for name in ("first", "second", "label")])
UNKNOWN = 2**64 - 1
"""A stage that was not asked; of label sets all labels at once, which 63 labels cannot be."""
MOST_LABELS_OF_A_SET = 63
RING, ABOUT, ALONE = ".answers", ".cascade.json", "answers.lock"

Label = str | tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A version of a cascade that has answered. `sets`: whether an item has a set of labels."""

    kind: str
    name: str
    version: str
    labels: tuple[str, ...]
    sets: bool

    @classmethod
    def of(cls, modality: Modality) -> About:
        """What is to be known of a cascade."""
        labels, field = modality.cascade.labels, modality.cascade.screen_head.field
        return cls(
            kind=modality.kind, name=modality.name, version=modality.version, labels=labels, sets=field == "labels"
        )

    @property
    def key(self) -> int:
        """A number for this version."""
        return zlib.crc32("\0".join((self.kind, self.name, self.version)).encode())

    def code(self, label: Label | None) -> int:
        """A label as its place, a set of them as bits. Raises ValueError for a label that is not there."""
        if label is None:
            return UNKNOWN
        if isinstance(label, str):
            return self.labels.index(label)
        return sum(1 << self.labels.index(each) for each in label)


class _Known(NamedTuple):
    """What is written of each answer of a version: its key, and codes of single labels."""

    about: About
    key: int
    codes: dict[Label, int]

    def code(self, label: Label | None) -> int:
        """The same as that of `About`, quicker for a single label."""
        return self.codes[label] if isinstance(label, str) else self.about.code(label)


class Told(NamedTuple):
    """What became of feedback: the cascade that had answered, and whether each stage was right; None if not asked.

    `again`: the same had been told before, and is not counted twice.
    """

    about: About
    right: dict[str, bool | None]
    again: bool


class Answered(NamedTuple):
    """Answers of one version whose right label was told: codes of labels, each [items]."""

    about: About
    told: NDArray[np.uint64]
    answer: NDArray[np.uint64]
    screen: NDArray[np.uint64]
    expert: NDArray[np.uint64]


class AnsweredMemory:
    """The last `size` items that this process has answered, in `folder`, and those of the processes beside it."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._own_cascades: dict[tuple[str, str, str], _Known] = {}
        self._own = self._taken()
        self._ring = _mapped(self._own)
        self._next = int(_answers(self._ring)["at_ns"].argmax()) + 1

    def remember(self, record: RequestRecord) -> None:
        """Remember the answers to a request."""
        if record.modality is None:
            return
        known = self._known(record.modality)
        if known.about.sets and len(known.about.labels) > MOST_LABELS_OF_A_SET:
            return
        for number, item in enumerate(record.answers):
            if item.answer is None:
                continue
            code = known.code(item.answer.label)
            of_expert = item.stage == "expert"
            screen = known.code(item.screen_label) if of_expert else code
            place = record.places[number] if record.places is not None else number
            self._next = self._next % self._size
            ANSWER.pack_into(
                self._ring,
                self._next * ANSWER.size,
                digest_of(record.request_id, place),
                known.key,
                code,
                screen,
                code if of_expert else UNKNOWN,
                time.monotonic_ns(),
            )
            self._next += 1

    def tell(self, request_id: str, item: int, label: Label) -> Told:
        """The right label of an item that was answered, the last one under this id.

        Raises NotRememberedError if it is not remembered, InvalidInputError for a label that its cascade has not, and
        AlreadyToldError if another label was told before: what was counted cannot be taken back. Any thread may call.
        """
        wanted = digest_of(request_id, item)
        found = max(self._found(wanted), key=lambda each: int(each[2]["at_ns"]), default=None)
        if found is None:
            raise NotRememberedError(
                f"item {item} of this request is not remembered: it was not answered here, or {self._size:,} later "
                "items were by the same process, or the server was started anew; send feedback sooner, or raise "
                "feedback_memory"
            )
        path, place, answer = found
        about = self._read_about(int(answer["cascade"]))
        code = _told_code(about, label)
        said = {"cascade": int(answer["answer"]), "screen": int(answer["screen"]), "expert": int(answer["expert"])}
        right = {stage: None if of == UNKNOWN else of == code for stage, of in said.items()}
        with (self._folder / ALONE).open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            ring = _mapped(path)
            start = len(_answers(ring)) * ANSWER.size + place * TOLD.size
            before_digest, before = TOLD.unpack_from(ring, start)
            if before_digest == wanted and before != code:
                raise AlreadyToldError(
                    "another label was told for this item before, and it is counted; send each item's label once"
                )
            TOLD.pack_into(ring, start, wanted, code)
        return Told(about, right, again=before_digest == wanted)

    def answered(self) -> list[Answered]:
        """All answers in memory whose right label was told, by the version of the cascade. Any thread may call."""
        parts = []
        for path in self._rings():
            ring = _mapped(path)
            answers, told = _answers(ring), _told(ring)
            there = (told["first"] == answers["first"]) & (told["second"] == answers["second"]) & (answers["at_ns"] > 0)
            columns = [answers[there][name] for name in ("cascade", "answer", "screen", "expert")]
            parts.append([*columns, told[there]["label"]])
        if not parts:
            return []
        cascade, answer, screen, expert, told_label = (np.concatenate(column) for column in zip(*parts, strict=True))
        return [
            Answered(self._read_about(int(key)), told_label[of], answer[of], screen[of], expert[of])
            for key in np.unique(cascade)
            for of in [cascade == key]
        ]

    def _found(self, wanted: bytes) -> Iterator[tuple[Path, int, np.void]]:
        first, second = struct.unpack("<QQ", wanted)
        for path in self._rings():
            answers = _answers(_mapped(path))
            for place in np.flatnonzero((answers["first"] == first) & (answers["second"] == second)):
                yield path, int(place), answers[place].copy()

    def _rings(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{RING}"))

    def _known(self, modality: Modality) -> _Known:
        of = modality.kind, modality.name, modality.version
        known = self._own_cascades.get(of)
        if known is None:
            about = About.of(modality)
            codes: dict[Label, int] = {} if about.sets else {label: about.code(label) for label in about.labels}
            known = self._own_cascades[of] = _Known(about, about.key, codes)
            beside = self._folder / f"{known.key}.{os.getpid()}.partial"
            beside.write_text(json.dumps(asdict(about)), encoding="utf-8")
            beside.replace(self._folder / f"{known.key}{ABOUT}")
        return known

    def _read_about(self, key: int) -> About:
        stated = json.loads((self._folder / f"{key}{ABOUT}").read_text(encoding="utf-8"))
        return About(**{**stated, "labels": tuple(stated["labels"])})

    def _taken(self) -> Path:
        """A ring that no living process holds, this one's from now on."""
        self._folder.mkdir(parents=True, exist_ok=True)
        size_bytes = self._size * (ANSWER.size + TOLD.size)
        with (self._folder / ALONE).open("w") as alone:
            fcntl.flock(alone, fcntl.LOCK_EX)
            for path in self._rings():
                if path.stat().st_size == size_bytes and self._held(path):
                    return path
            path = self._folder / f"{len(self._rings())}{RING}"
            with path.open("wb") as made:
                made.truncate(size_bytes)
            assert self._held(path), "it is new, and nobody else may look for one meanwhile"
            return path

    def _held(self, path: Path) -> bool:
        file = path.open("r+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._lock = file
        return True


def answered_memory(size: int, folder: Path | None) -> AnsweredMemory | None:
    """A memory of `size` answers beside those of the other processes that share `folder`, if any; None for 0."""
    if not size:
        return None
    return AnsweredMemory(Path(tempfile.mkdtemp(prefix="sieve-")) if folder is None else folder / "answered", size)


def digest_of(request_id: str, item: int) -> bytes:
    """The digest of an item of a request."""
    return blake2b(f"{item}\0{request_id}".encode(), digest_size=16).digest()


def _told_code(about: About, label: Label) -> int:
    field = "labels" if about.sets else "label"
    if isinstance(label, str) == about.sets:
        wanted = "a list of labels" if about.sets else "one label"
        raise InvalidInputError(field, f"must be {wanted} for an answer of this cascade, got the other; send {field}")
    named: Sequence[str] = [label] if isinstance(label, str) else label
    if not set(named) <= set(about.labels):
        raise InvalidInputError(
            field,
            f"must be of the labels of the cascade that answered, got another; use these: {', '.join(about.labels)}",
        )
    return about.code(label if isinstance(label, str) else tuple(set(label)))


def _mapped(path: Path) -> mmap.mmap:
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), 0)


def _answers(ring: mmap.mmap) -> NDArray[np.void]:
    return np.frombuffer(ring, ANSWER_FIELDS, count=len(ring) // (ANSWER.size + TOLD.size))


def _told(ring: mmap.mmap) -> NDArray[np.void]:
    count = len(ring) // (ANSWER.size + TOLD.size)
    return np.frombuffer(ring, TOLD_FIELDS, count=count, offset=count * ANSWER.size)
