"""What goes with an audited item to a worker elsewhere, and comes back with the expert's answer. Pure."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import orjson
from pydantic import TypeAdapter, ValidationError

from serving.arrays import Array, Logits
from serving.audit.betting import WEIGHTS
from serving.errors import MalformedError
from serving.expert.wire import unpack
from serving.model.answer import Answer

NOTE_HEADER, DIGEST_HEADER, REPLY_HEADER, OUTCOME_HEADER = (
    "Sieve-Note",
    "Sieve-Digest",
    "Sieve-Reply-To",
    "Sieve-Outcome",
)
Outcome = Literal["answered", "refused", "failed"]
"""`refused`: the item is for an expert of another digest. `failed`: it cannot be read, or the expert fails on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """An answer that is audited. `id` is of the audit, `request` of the request; no content is in it.

    `level` is the place of its weight in WEIGHTS, `life` that of the promise in which it was given.
    """

    id: str
    request: str
    level: int
    life: int
    label: str | tuple[str, ...]
    confidence: float

    def packed(self) -> str:
        """As a header, which has ASCII alone."""
        return orjson.dumps(self).hex()

    @classmethod
    def of(cls, answer: Answer, level: int, life: int, request: str) -> Note:
        """The note of an answer, with a new id."""
        label, confidence = answer.label, answer.confidence
        return cls(id=secrets.token_hex(8), request=request, level=level, life=life, label=label, confidence=confidence)

    @classmethod
    def read(cls, header: str) -> Note:
        """The note of a header. Raises MalformedError for anything else."""
        try:
            note = _NOTE.validate_json(bytes.fromhex(header))
            if not 0 <= note.level < len(WEIGHTS):
                raise ValueError
        except (ValueError, ValidationError):
            raise MalformedError(NOTE_HEADER, "must be a note as `packed` makes it, got another text") from None
        return note


_NOTE = TypeAdapter(Note)


class Report(NamedTuple):
    """What a worker says of an item: the expert's logits [1, labels], None where there are none.

    `message` is what is acknowledged.
    """

    note: Note
    logits: Logits | None
    message: Any


def reported_logits(headers: Mapping[str, str], body: bytes) -> Logits | None:
    """The expert's logits [1, labels] in a report; None where it gave none. Raises MalformedError for anything else."""
    if headers.get(OUTCOME_HEADER) != "answered":
        return None
    arrays = unpack(body)
    if len(arrays) != 1 or arrays[0].ndim != 2 or len(arrays[0]) != 1:
        raise MalformedError("report", "must hold the logits of one item, got other arrays")
    return arrays[0]


def work_subject(digest: str) -> str:
    """Where work for the expert with this digest goes."""
    return f"sieve.audit.work.{digest}"


def report_subject(origin: str, tag: str) -> str:
    """Where reports for the promise `tag` go, of the machines that share the state `origin`."""
    return f"sieve.audit.report.{hashlib.sha256(f'{origin} {tag}'.encode()).hexdigest()[:32]}"


def durable_of(subject: str) -> str:
    """The name of the consumer of a subject: names have no dots."""
    return subject.replace(".", "-")


class Elsewhere(Protocol):
    """Takes audited items to workers elsewhere, and their reports (`serving.audit.over_broker`)."""

    @property
    def connected(self) -> bool: ...
    async def send(self, item: Array, note: Note) -> None: ...
    async def run(self) -> None: ...
    def taken(self) -> list[Report]: ...
    async def counted(self, reports: Sequence[Report]) -> None: ...


class ExpertsElsewhere(Protocol):
    """Asks workers elsewhere, for one who waits for their answers, for hours if need be (`serving.audit.experts`)."""

    @property
    def connected(self) -> bool: ...
    async def ask(self, digest: str, item: Array) -> Logits: ...
    async def run(self) -> None: ...


class Ways(Protocol):
    """Opens the ways to the workers elsewhere, over one connection."""

    def start(self) -> None:
        """Connect, in the running event loop."""

    def to(self, digest: str, tag: str) -> Elsewhere:
        """The way for the promise `tag` to the workers with the expert of this digest."""

    def experts(self) -> ExpertsElsewhere:
        """The way to the workers for one who waits for their answers."""
