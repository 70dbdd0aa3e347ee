"""Tokenisers, each once in a process: it takes 8 MB, and versions of a cascade nearly always have the same one."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from weakref import WeakValueDictionary

from tokenizers import Tokenizer

from serving.errors import ArtifactError


class SharedTokeniser:
    """A tokeniser that neither pads nor cuts. It is gone with the last one who holds this.

    The library's own objects cannot be referred to weakly.
    """

    __slots__ = ("__weakref__", "tokenizer")

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self.tokenizer = tokenizer


_open: WeakValueDictionary[bytes, SharedTokeniser] = WeakValueDictionary()
"""By the digests of their files."""


def shared_tokeniser(path: Path) -> SharedTokeniser:
    """The tokeniser of a file, the one that is open if another file with this content is. Raises ArtifactError."""
    try:
        content = path.read_bytes()
        digest = sha256(content).digest()
        shared = _open.get(digest)
        if shared is None:
            shared = _open[digest] = SharedTokeniser(Tokenizer.from_buffer(content))
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for every failure
        why = error.strerror if isinstance(error, OSError) else error
        raise ArtifactError(f"{path} is not a tokeniser file ({why}); publish the artifact again") from None
    return shared
