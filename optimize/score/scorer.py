"""A cascade without a budget: every item that the screen is unsure of goes to the expert, and no answer is degraded."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from optimize.score.stage import Stage
from serving.arrays import Array, Logits
from serving.cascade.deferral import should_defer
from serving.cascade.modality import StoredCascade, takes_pairs
from serving.errors import InvalidInputError
from serving.model.answer import Answer
from serving.model.head import head_of
from serving.model.image_header import read_header
from serving.model.preprocess import StageItems, items_of, preprocessor, same_preprocessing
from serving.model.text import Text, TextEncoder
from serving.model.windows import length_of

DECODED_TOGETHER = 8
"""Images that one thread decodes at a time."""
UNREADABLE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)
FAILED = "the expert failed on it"


@dataclass(frozen=True, slots=True)
class Unusable:
    """A row that no model is asked about, and why."""

    error: str


@dataclass(frozen=True, slots=True)
class ImageBytes:
    """An image file: its bytes, or where they lie. `name` is what an error calls it."""

    name: str
    content: bytes | Path | zipfile.Path

    def read(self) -> bytes:
        """The file's bytes."""
        return self.content if isinstance(self.content, bytes) else self.content.read_bytes()


Content = Text | ImageBytes | Unusable


@dataclass(frozen=True, slots=True)
class Scored:
    """What a cascade says of one row: an answer and the stage that gave it, or an error.

    `truncated`: a stage that was asked did not see the whole text.
    """

    answer: Answer | None
    stage: Literal["screen", "expert"] | None
    escalated: bool | None
    error: str | None = None
    truncated: bool = False


class Both(NamedTuple):
    """What both stages say of many rows: `errors` [rows] where there is nothing, and for all other rows the rest.

    Logits are [items, labels]; `lengths` [items] are those of the screen's items, in tokens for a text.
    """

    errors: list[str | None]
    screen: Logits
    expert: Logits
    lengths: NDArray[np.int64]


class Scorer:
    """A published cascade that scores many items at a time, with so many `threads`.

    The same stages, rule and operating point as in the service give the same answers. `score` may be called from
    several threads.
    """

    def __init__(self, cascade: StoredCascade, *, threads: int) -> None:
        screen, expert, point = cascade.screen.artifact, cascade.expert.artifact, cascade.point.point
        self.screen = Stage(screen, point.screen_temperature, point.screen_variant)
        self.expert = Stage(expert, point.expert_temperature)
        self.kind, self.pairs = screen.manifest.settings.kind, takes_pairs(screen)
        self.labels, self.field = screen.manifest.labels, head_of(screen.manifest).field
        self.point = point
        same = same_preprocessing(screen, expert)
        self._theirs = self.screen.preprocess if same else preprocessor(expert)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="model")

    @property
    def against_promise(self) -> list[str]:
        """Why the operating point's promise does not apply to what runs here, a sentence for each reason."""
        against = [self.screen.against, self.expert.against]
        if self.expert.variant != self.point.expert_variant:
            wanted, got = self.point.expert_variant, self.expert.variant
            against.append(f"the promise was made for the expert's variant {wanted}, and {got} runs")
        return [sentence for sentence in against if sentence]

    def score(self, contents: Sequence[Content]) -> list[Scored]:
        """One result for each of `contents`, in order."""
        prepared = self._prepared_images(contents) if self.kind == "image" else self._prepared_texts(contents)
        scored: list[Scored | None] = [
            Scored(None, None, None, each.error) if isinstance(each, Unusable) else None for each in prepared
        ]
        places = [place for place, each in enumerate(scored) if each is None]
        items = [cast(StageItems, prepared[place]) for place in places]
        deferred = []
        for place, item, answer in zip(
            places, items, self.screen.answers([item.screen for item in items], self._pool), strict=True
        ):
            if should_defer(answer, self.point):
                deferred.append(place)
            else:
                scored[place] = Scored(answer, "screen", False, truncated=item.truncated)
        theirs = self._for_expert(contents, prepared, deferred)
        for place, (_, truncated), answer in zip(
            deferred, theirs, self.expert.answers([item for item, _ in theirs], self._pool), strict=True
        ):
            truncated = truncated or cast(StageItems, prepared[place]).truncated
            failed = math.isnan(answer.confidence)
            scored[place] = (
                Scored(None, None, True, FAILED) if failed else Scored(answer, "expert", True, None, truncated)
            )
        return cast(list[Scored], scored)

    def both(self, contents: Sequence[Content]) -> Both:
        """What each stage says of every one of `contents`, whether the screen is sure or not."""
        prepared = self._prepared_images(contents) if self.kind == "image" else self._prepared_texts(contents)
        errors = [each.error if isinstance(each, Unusable) else None for each in prepared]
        places = [place for place, error in enumerate(errors) if error is None]
        ours = [cast(StageItems, prepared[place]).screen for place in places]
        theirs = [item for item, _ in self._for_expert(contents, prepared, places)]
        screen, expert = self.screen.logits(ours, self._pool), self.expert.logits(theirs, self._pool)
        said = np.isfinite(np.concatenate([screen, expert], axis=1)).all(axis=1)
        for place, sound in zip(places, said, strict=True):
            if not sound:
                errors[place] = "a model failed on it"
        return Both(errors, screen[said], expert[said], np.array([length_of(item) for item in ours], np.int64)[said])

    def close(self) -> None:
        """End the threads; what has not begun is not run."""
        self._pool.shutdown(cancel_futures=True)

    def _prepared_texts(self, contents: Sequence[Content]) -> list[StageItems | Unusable]:
        """Items of the screen. Those of the expert follow for the rows that it is asked about."""
        texts = [cast(Text, content) for content in contents if not isinstance(content, Unusable)]
        items = iter(_encoder(self.screen.preprocess).items(texts))
        return [each if isinstance(each, Unusable) else _for_both(*next(items)) for each in contents]

    def _for_expert(
        self, contents: Sequence[Content], prepared: Sequence[StageItems | Unusable], places: Sequence[int]
    ) -> list[tuple[Array, bool]]:
        if self._theirs is self.screen.preprocess or self.kind == "image":
            return [(cast(StageItems, prepared[place]).expert, False) for place in places]
        return list(_encoder(self._theirs).items([cast(Text, contents[place]) for place in places]))

    def _prepared_images(self, contents: Sequence[Content]) -> list[StageItems | Unusable]:
        parts = [contents[start : start + DECODED_TOGETHER] for start in range(0, len(contents), DECODED_TOGETHER)]
        return [item for part in self._pool.map(self._decoded, parts) for item in part]

    def _decoded(self, contents: Sequence[Content]) -> list[StageItems | Unusable]:
        return [each if isinstance(each, Unusable) else self._decoded_one(cast(ImageBytes, each)) for each in contents]

    def _decoded_one(self, image: ImageBytes) -> StageItems | Unusable:
        try:
            return items_of(self.screen.preprocess, self._theirs, read_header(image.read()))
        except InvalidInputError as error:
            return Unusable(str(error))
        except UNREADABLE as error:
            return Unusable(f"image: must be a file that can be read, got one that is not ({type(error).__name__})")


def _for_both(item: Array, truncated: bool) -> StageItems:
    return StageItems(item, item, truncated)


def _encoder(preprocess: Any) -> TextEncoder:
    assert isinstance(preprocess, TextEncoder), "the kinds of both stages are the same"
    return preprocess
