"""The text that the benchmarks of the hot path send."""

from __future__ import annotations

from serving.model.artifact import Artifact
from serving.model.preprocess import preprocessor
from serving.model.text import TextEncoder

TOKENS = 32
WORDS = ("my", "card", "was", "charged", "again", "and", "nobody", "can", "tell", "me", "why")


def encoder(artifact: Artifact) -> TextEncoder:
    """The tokeniser of a text model."""
    found = preprocessor(artifact)
    assert isinstance(found, TextEncoder), "the benchmarks of the hot path send texts"
    return found


def text_of(tokens: int, artifact: Artifact) -> str:
    """A text that the artifact's tokeniser splits into exactly this many tokens."""
    encode = encoder(artifact).encode
    text = ""
    for place in range(tokens):
        longer = f"{text} {WORDS[place % len(WORDS)]}".strip()
        if len(encode(longer)) > tokens:
            break
        text = longer
    while len(encode(text)) < tokens:
        text += "."  # one token each
    assert len(encode(text)) == tokens
    return text
