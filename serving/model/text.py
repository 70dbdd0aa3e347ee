"""Checks texts, tokenises them and pads them to arrays. A bad text fails here, before it is in a batch with others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from serving.arrays import Logits
from serving.errors import ArtifactError, InvalidInputError, kind_of
from serving.model.artifact import TextSettings
from serving.model.tokeniser import shared_tokeniser
from serving.model.windows import merged, parts

MAX_CHARACTERS = 20_000
# Longer texts are tokenised in a thread, which must not hold up the event loop meanwhile.
LOCKED_CHARACTERS = 2_500

Ids = NDArray[np.int64]


class TextPair(NamedTuple):
    """Two texts that are classified together, such as a premise and a hypothesis."""

    text: str
    text_pair: str


Text = str | TextPair
"""What one item is made of: a text, or a pair where the artifact's settings say `pairs`."""


def check_text(value: object, field: str = "text") -> str:
    """Return `value` if it is a text that can be classified. Raises InvalidInputError otherwise."""
    if not isinstance(value, str):
        raise InvalidInputError(field, f"must be a string, got {kind_of(value)}; send a JSON string")
    if len(value) > MAX_CHARACTERS:
        raise InvalidInputError(
            field, f"must have at most {MAX_CHARACTERS:,} characters, got {len(value):,}; send a shorter text"
        )
    if not value.strip():
        kind = "an empty string" if not value else "a string of white space"
        raise InvalidInputError(field, f"must not be empty, got {kind}; send at least one character that can be read")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(
            field, "must be valid Unicode, got a string with a lone surrogate; send text encoded as UTF-8"
        ) from None
    return value


class TextCollator:
    """Pads token ids to the inputs of a graph, as an artifact's settings say; it needs no tokeniser."""

    def __init__(self, settings: TextSettings) -> None:
        self._settings = settings

    def collate(self, items: Sequence[Ids]) -> dict[str, Ids]:
        """The inputs of the graph, each int64 [rows, tokens], padded to the longest row; a window is a row, too."""
        rows = [row for item in items for row in (item if item.ndim == 2 else (item,))]
        longest = max(len(ids) for ids in rows)
        input_ids = np.full((len(rows), longest), self._settings.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(rows):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        arrays = {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": np.zeros_like(input_ids)}
        return {name: arrays[name] for name in self._settings.inputs}

    def merged(self, logits: Logits, items: Sequence[Ids]) -> Logits:
        """Logits [rows, labels] of the rows that `collate` made of `items` -> [items, labels]."""
        return merged(logits, items, self._settings.watched_label)


class TextEncoder:
    """Tokenises texts with the artifact's own tokeniser, the file `settings.tokenizer` in `folder`.

    Whole texts are tokenised, and then cut. How many characters fill `max_tokens` cannot be told beforehand: tokenisers
    delete characters, make one token of a long word, and join what follows a cut with what stands before it.

    `serving.model.pairs` has the encoder for pairs. Raises ArtifactError if the tokeniser file cannot be read, or adds
    so many tokens that `max_tokens` has no room for the text's own.
    """

    _collator_of: type[TextCollator] = TextCollator

    def __init__(self, settings: TextSettings, folder: Path) -> None:
        self._settings, self._collator = settings, self._collator_of(settings)
        # Held, so that an encoder that is opened meanwhile finds it.
        self._shared = shared_tokeniser(folder / settings.tokenizer)
        self._tokenizer = self._shared.tokenizer
        added = self._tokenizer.num_special_tokens_to_add(is_pair=settings.pairs)
        self._room = settings.max_tokens - added
        if self._room <= 0:
            raise ArtifactError(
                f"max_tokens must be more than the {added} tokens that the tokeniser adds to each "
                f"{'pair of texts' if settings.pairs else 'text'}, got {settings.max_tokens}; raise it in the recipe "
                "and publish the artifact again"
            )

    def encode(self, text: Text) -> Ids:
        """The token ids of a text, int64 [tokens]; those that are too many are cut off at `truncation_side`."""
        return self._item(self._encoding(text), windows=False)[0]

    def encode_batch(self, texts: Sequence[Text]) -> list[Ids]:
        """The token ids of each text, as `encode` gives them."""
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [self._item(encoding, windows=False)[0] for encoding in encodings]

    def item(self, text: Text) -> tuple[Ids, bool]:
        """A text as a stage takes it, and whether a part of the text is missing there.

        int64 [tokens], or int64 [windows, max_tokens] for a long text where the settings ask for windows.
        """
        encoding = self._encoding(text)
        ids = encoding.ids
        if len(ids) <= self._settings.max_tokens:  # nearly all texts
            return np.array(ids, dtype=np.int64), False
        return self._item(encoding, windows=self._settings.long_texts == "windows")

    def items(self, texts: Sequence[Text]) -> list[tuple[Ids, bool]]:
        """Each text as `item` gives it. The library lets go of Python's lock meanwhile."""
        windows = self._settings.long_texts == "windows"
        encodings = self._tokenizer.encode_batch_fast(list(texts))
        return [self._item(encoding, windows=windows) for encoding in encodings]

    def _encoding(self, text: Text) -> Encoding:
        """All tokens of a text. The library holds Python's lock while it encodes, except for a batch."""
        if len(text) <= LOCKED_CHARACTERS:
            return self._tokenizer.encode(text)
        return self._tokenizer.encode_batch_fast([text])[0]

    def _item(self, encoding: Encoding, *, windows: bool) -> tuple[Ids, bool]:
        ids, most = encoding.ids, self._settings.max_tokens
        if len(ids) <= most:
            return np.array(ids, dtype=np.int64), False
        added = encoding.special_tokens_mask
        if windows:
            return parts(ids, added, most)
        found, missing = parts(ids, added, most, 1, from_end=self._settings.truncation_side == "left")
        return found[0], missing

    def collate(self, items: Sequence[Ids]) -> dict[str, Ids]:
        """The inputs of the graph, as `TextCollator` makes them."""
        return self._collator.collate(items)

    def merged(self, logits: Logits, items: Sequence[Ids]) -> Logits:
        """Logits of items, as `TextCollator` makes them."""
        return self._collator.merged(logits, items)
