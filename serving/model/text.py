"""Checks texts, tokenises them and pads them to arrays. A bad text fails here, before it is in a batch with others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serving.errors import ArtifactError, InvalidInputError, kind_of
from serving.model.artifact import TextSettings

MAX_CHARACTERS = 20_000
# Far more than the average in any language, so that a cut text still fills its tokens.
CHARACTERS_PER_TOKEN = 40

Ids = NDArray[np.int64]


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


class TextEncoder:
    """Tokenises texts with the artifact's own tokeniser, the file `settings.tokenizer` in `folder`.

    Raises ArtifactError if the tokeniser file cannot be read.
    """

    def __init__(self, settings: TextSettings, folder: Path) -> None:
        path = folder / settings.tokenizer
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the library raises bare Exception for every failure
            raise ArtifactError(f"{path} is not a tokeniser file ({error}); publish the artifact again") from None
        self._settings = settings
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings.max_tokens)

    def encode(self, text: str) -> Ids:
        """The token ids of a text, int64 [tokens], at most `max_tokens`."""
        return np.array(self._tokenizer.encode(self._cut(text)).ids, dtype=np.int64)

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """The token ids of each text, int64 [tokens], at most `max_tokens`."""
        encodings = self._tokenizer.encode_batch([self._cut(text) for text in texts])
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def _cut(self, text: str) -> str:
        """The start of a text that can fill `max_tokens`. The tokeniser would process the rest and then drop it."""
        most = self._settings.max_tokens * CHARACTERS_PER_TOKEN
        return text if len(text) <= most else " ".join(text.split())[:most]

    def collate(self, items: Sequence[Ids]) -> dict[str, Ids]:
        """The inputs of the graph, each int64 [batch, tokens], padded to the longest of `items`."""
        longest = max(len(ids) for ids in items)
        input_ids = np.full((len(items), longest), self._settings.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(items):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        arrays = {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": np.zeros_like(input_ids)}
        return {name: arrays[name] for name in self._settings.inputs}
