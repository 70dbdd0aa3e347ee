"""Texts to arrays: checked, tokenised, padded. All that can fail for one text fails here, before any batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from serving.errors import ArtifactError, InvalidInputError, kind_of
from serving.model.artifact import TextSettings

MAX_CHARACTERS = 20_000
# Far more than the average of any language, so that nothing which would become a token is cut off.
CHARACTERS_PER_TOKEN = 40

Ids = NDArray[np.int64]


def check_text(value: object, field: str = "text") -> str:
    """Return `value` when it is a text that can be classified; otherwise raise InvalidInputError."""
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
    """Tokenises texts as the artifact's own tokeniser does; `folder` is where `settings.tokenizer` lies.

    Raises ArtifactError when the tokeniser file cannot be read.
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
        """Token ids int64 [tokens], cut at `max_tokens`."""
        return np.array(self._tokenizer.encode(self._cut(text)).ids, dtype=np.int64)

    def encode_batch(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids of each text, int64 [tokens]."""
        encodings = self._tokenizer.encode_batch([self._cut(text) for text in texts])
        return [np.array(encoding.ids, dtype=np.int64) for encoding in encodings]

    def _cut(self, text: str) -> str:
        """The part that can end up in the first `max_tokens`: the tokeniser would go through all of the rest first."""
        most = self._settings.max_tokens * CHARACTERS_PER_TOKEN
        return text if len(text) <= most else " ".join(text.split())[:most]

    def collate(self, items: Sequence[Ids]) -> dict[str, Ids]:
        """Pad to the longest: each input of the graph, int64 [batch, tokens]."""
        longest = max(len(ids) for ids in items)
        input_ids = np.full((len(items), longest), self._settings.pad_token_id, dtype=np.int64)
        mask = np.zeros_like(input_ids)
        for row, ids in enumerate(items):
            input_ids[row, : len(ids)] = ids
            mask[row, : len(ids)] = 1
        arrays = {"input_ids": input_ids, "attention_mask": mask, "token_type_ids": np.zeros_like(input_ids)}
        return {name: arrays[name] for name in self._settings.inputs}
