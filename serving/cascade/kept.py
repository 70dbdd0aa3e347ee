"""Full answers that were given, by a digest of what they answer: bounded in bytes, the least recently used go first.

Pure: no clock, no I/O. Nothing of an item's content is kept. An answer is kept as packed bytes, which Python's garbage
collector passes over: as objects, the answers of a large cache would hold the event loop for tens of milliseconds.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress
from sys import getsizeof
from typing import Literal

from serving.model.answer import Answer

STAGES: tuple[Literal["screen", "expert"], ...] = ("screen", "expert")
# The head of a packed answer: its stage, whether the item was truncated, the place of its label or SEVERAL, then the
# screen's confidence, the confidence and the margin.
HEAD = struct.Struct("<B?i3d")
SEVERAL = -1
ENTRY_BYTES = 200
"""What the table itself takes of memory for an entry, on average at most; a test measures it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A full answer, the stage that gave it, the screen's confidence, and whether a part of the item was not read."""

    answer: Answer
    stage: Literal["screen", "expert"]
    screen_confidence: float
    truncated: bool


class KeptAnswers:
    """Packed answers by digests, of at most `limit_bytes` together with what Python takes to hold them."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._packed: OrderedDict[bytes, bytes] = OrderedDict()

    def __len__(self) -> int:
        return len(self._packed)

    def get(self, key: bytes) -> bytes | None:
        """The packed answer under a digest, None where there is none. It is now the most recently used."""
        packed = self._packed.get(key)
        if packed is not None:
            self._packed.move_to_end(key)
        return packed

    def put(self, key: bytes, packed: bytes) -> None:
        """Keep an answer in the place of the one before, if there is room for it at all."""
        before = self._packed.pop(key, None)
        if before is not None:
            self.held_bytes -= entry_bytes(key, before)
        size = entry_bytes(key, packed)
        if size > self.limit_bytes:
            return
        while self.held_bytes + size > self.limit_bytes:
            oldest = self._packed.popitem(last=False)
            self.held_bytes -= entry_bytes(*oldest)
        self._packed[key] = packed
        self.held_bytes += size


def entry_bytes(key: bytes, packed: bytes) -> int:
    """The memory that an entry takes."""
    return getsizeof(key) + getsizeof(packed) + ENTRY_BYTES


def pack(kept: Kept, labels: Sequence[str]) -> bytes:
    """An answer as bytes. `labels`: those of the cascade, whose order the scores have."""
    answer = kept.answer
    one = isinstance(answer.label, str)
    place = labels.index(answer.label) if isinstance(answer.label, str) else SEVERAL
    head = HEAD.pack(
        STAGES.index(kept.stage), kept.truncated, place, kept.screen_confidence, answer.confidence, answer.margin
    )
    given = b"" if one else bytes(label in answer.label for label in labels)
    return head + struct.pack(f"<{len(labels)}d", *answer.scores) + given


def unpack(packed: bytes, labels: Sequence[str]) -> Kept:
    """The answer in these bytes, to the last bit of its scores."""
    stage, truncated, place, screen_confidence, confidence, margin = HEAD.unpack_from(packed)
    scores: tuple[float, ...] = struct.unpack_from(f"<{len(labels)}d", packed, HEAD.size)
    given = packed[HEAD.size + 8 * len(labels) :]
    label = labels[place] if place != SEVERAL else tuple(compress(labels, given))
    answer = Answer(label=label, confidence=confidence, margin=margin, scores=scores)
    return Kept(answer=answer, stage=STAGES[stage], screen_confidence=screen_confidence, truncated=truncated)
