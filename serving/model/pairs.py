"""Pairs of texts: how the two are tokenised together, cut and told apart.

An item of a pair is int64 [tokens], as that of a single text, so that whatever handles items need not know of pairs.
Where the graph has an input for token types, that of a token stands in the bits above its id; `collate` parts the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Encoding

from serving.errors import InvalidInputError
from serving.model.artifact import TextSettings
from serving.model.text import (
    LOCKED_CHARACTERS,
    MAX_CHARACTERS,
    Ids,
    Text,
    TextCollator,
    TextEncoder,
    TextPair,
    check_text,
)

TYPE_BIT = 32
ID_BITS = (1 << TYPE_BIT) - 1


def check_pair(text: object, text_pair: object, field: str = "text", pair_field: str = "text_pair") -> TextPair:
    """Return the two as a pair if it can be classified. Raises InvalidInputError otherwise."""
    pair = TextPair(check_text(text, field), check_text(text_pair, pair_field))
    characters = characters_of(pair)
    if characters > MAX_CHARACTERS:
        raise InvalidInputError(
            pair_field,
            f"must have at most {MAX_CHARACTERS:,} characters together with {field}, got {characters:,}; send shorter "
            "texts",
        )
    return pair


def characters_of(pair: TextPair) -> int:
    """The characters of both texts."""
    return len(pair.text) + len(pair.text_pair)


def text_encoder(settings: TextSettings, folder: Path) -> TextEncoder:
    """The encoder that `settings` ask for, with the tokeniser in `folder`. Raises ArtifactError as `TextEncoder`."""
    return (PairEncoder if settings.pairs else TextEncoder)(settings, folder)


def text_collator(settings: TextSettings) -> TextCollator:
    """What makes the inputs of a graph of the encoder's items."""
    return (PairCollator if settings.pairs else TextCollator)(settings)


class PairCollator(TextCollator):
    """Pads items of pairs to the inputs of a graph."""

    def collate(self, items: Sequence[Ids]) -> dict[str, Ids]:
        """The inputs of the graph, each int64 [pairs, tokens], padded to the longest pair."""
        arrays = super().collate(items)
        if "token_type_ids" in self._settings.inputs:
            packed = arrays["input_ids"]
            arrays |= {"input_ids": packed & ID_BITS, "token_type_ids": packed >> TYPE_BIT}
        return arrays


class PairEncoder(TextEncoder):
    """Tokenises pairs of texts. What does not fit into `max_tokens` is cut off the longer one, at `truncation_side`."""

    _collator_of = PairCollator

    def __init__(self, settings: TextSettings, folder: Path) -> None:
        super().__init__(settings, folder)
        self._typed = "token_type_ids" in settings.inputs

    def encode(self, text: Text) -> Ids:
        """The item of a pair, int64 [tokens]."""
        return self._packed(self._encoding(text))[0]

    def encode_batch(self, texts: Sequence[Text]) -> list[Ids]:
        """The item of each pair, as `encode` gives it."""
        return [item for item, _ in self.items(texts)]

    def item(self, text: Text) -> tuple[Ids, bool]:
        """A pair as a stage takes it, int64 [tokens], and whether a part of its texts is missing there."""
        return self._packed(self._encoding(text))

    def items(self, texts: Sequence[Text]) -> list[tuple[Ids, bool]]:
        """Each pair as `item` gives it."""
        return [self._packed(encoding) for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def _encoding(self, text: Text) -> Encoding:
        assert isinstance(text, TextPair), "the request's form and the readers of data make pairs"
        if characters_of(text) <= LOCKED_CHARACTERS:
            return self._tokenizer.encode(*text)
        return self._tokenizer.encode_batch_fast([text])[0]

    def _packed(self, encoding: Encoding) -> tuple[Ids, bool]:
        item = np.array(encoding.ids, dtype=np.int64)
        if self._typed:
            item |= np.array(encoding.type_ids, dtype=np.int64) << TYPE_BIT
        if len(item) <= self._settings.max_tokens:
            return item, False
        return item[self._kept(encoding)], True

    def _kept(self, encoding: Encoding) -> list[int]:
        """The places of the tokens that fit, those of the template among them."""
        places: dict[int | None, list[int]] = {None: [], 0: [], 1: []}
        for place, text in enumerate(encoding.sequence_ids):
            places[text].append(place)
        kept = longest_first(len(places[0]), len(places[1]), self._room)
        for text, count in enumerate(kept):
            begin = len(places[text]) - count if self._settings.truncation_side == "left" else 0
            places[text] = places[text][begin : begin + count]
        return sorted([*places[None], *places[0], *places[1]])


def longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """How many tokens of each text are kept where both have more than `room`.

    The longer text is cut first, then both to half. This is what the libraries `tokenizers` and `transformers` call
    "longest_first", so that a model is served what it was trained on. Their own cut also makes an encoding of each
    combination of what is left over of both: thousands for long texts.
    """
    shorter, longer = sorted((first, second))
    longer = max(shorter, room - shorter)
    if shorter + longer > room:
        shorter = room // 2
        longer = room - shorter
    return (longer, shorter) if first > second else (shorter, longer)
