"""Answers equal requests once: what an item's digest is, which answers may be kept, and what a kept one tells of.

A digest is of all that changes an answer: the item as the client sent it, and the cascade with its version and its
models. It is keyed by a secret of this process, so nobody can look for an item by its digest, or make two items of one
digest. A degraded answer is never kept: it says what was true of one request's time.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from serving.cascade.cascade import StageAnswer
from serving.cascade.kept import Kept, KeptAnswers, pack, unpack
from serving.cascade.modality import Modality
from serving.model.text import Text

MEGABYTE = 1_000_000
DIGEST_BYTES = 16


class EqualRequests:
    """Keeps full answers of all cascades of this process in `limit_bytes`. One event loop uses it."""

    def __init__(self, limit_bytes: int) -> None:
        self.kept = KeptAnswers(limit_bytes)
        self._secret = secrets.token_bytes(32)

    def digest(self, content: bytes) -> bytes:
        """The digest of an image file or a text."""
        return blake2b(content, digest_size=DIGEST_BYTES, key=self._secret).digest()

    def text_digests(self, texts: Iterable[Text]) -> list[bytes]:
        """The digest of each text or pair of texts."""
        return [self.digest(_bytes_of(text)) for text in texts]

    def keys(self, modality: Modality, digests: Iterable[bytes]) -> list[bytes]:
        """For each digest of an item, the key of its answer from this version of a cascade."""
        threshold = f"{modality.cascade.point.threshold!r}"  # it may rise
        tags = (modality.name, modality.version, modality.screen_tag, modality.expert_tag, threshold)
        of = "\0".join((*tags, *modality.digests.values())).encode()
        return [self.digest(digest + of) for digest in digests]

    def found(self, modality: Modality, keys: Sequence[bytes]) -> dict[int, tuple[StageAnswer, bool]]:
        """The kept answers by the places of their keys, each with whether a part of the item was not read.

        The cascade's drift sees each of them as it saw the item that was answered first.
        """
        found = {}
        for place, key in enumerate(keys):
            packed = self.kept.get(key)
            if packed is not None:
                kept = unpack(packed, modality.cascade.labels)
                if not math.isnan(kept.screen_confidence):  # the screen failed on it, as drift is not told
                    modality.cascade.observe(kept.screen_confidence, kept.stage == "expert")
                found[place] = _stage_answer(kept), kept.truncated
        return found

    def keep(self, modality: Modality, key: bytes, given: StageAnswer, truncated: bool) -> None:
        """Keep an answer, if it is a full one."""
        if given.degraded is None and given.answer is not None:
            kept = Kept(
                answer=given.answer,
                stage=given.stage,
                screen_confidence=given.screen_confidence,
                truncated=truncated,
            )
            self.kept.put(key, pack(kept, modality.cascade.labels))


def equal_requests(cache_mb: int, tell: Callable[[KeptAnswers], None]) -> EqualRequests | None:
    """What answers equal requests once, None for 0 megabytes. `tell` is given the kept answers, to report on them."""
    if not cache_mb:
        return None
    equal = EqualRequests(cache_mb * MEGABYTE)
    tell(equal.kept)
    return equal


def _bytes_of(text: Text) -> bytes:
    """A text or a pair as bytes; no two have the same ones."""
    if isinstance(text, str):
        return text.encode()
    first = text.text.encode()
    return len(first).to_bytes(8, "big") + first + text.text_pair.encode()


def _stage_answer(kept: Kept) -> StageAnswer:
    return StageAnswer(
        answer=kept.answer,
        stage=kept.stage,
        escalated=False,
        degraded=None,
        cached="kept",
        screen_confidence=kept.screen_confidence,
    )
