"""What makes rows near-duplicates of each other, and digests of their content."""

from __future__ import annotations

import hashlib
import re

import numpy as np
from numpy.typing import NDArray

from optimize.data.groups import Keys, key_of
from optimize.data.image_file import ImageFile
from optimize.data.rows import Rows
from serving.model.text import TextPair


def normalised(text: str) -> str:
    """The text with case, digits and white space folded; near-duplicates have the same."""
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", text.casefold())).strip()


def keys_of(rows: Rows) -> Keys:
    """A key for each row, equal for near-duplicates."""
    return np.fromiter((key_of(_common(content)) for content in rows.inputs), np.uint64, len(rows.inputs))


def _common(content: str | TextPair | ImageFile | NDArray[np.uint8]) -> bytes:
    """What near-duplicates have in common. A pair that is turned round is one: it may say which answer is right."""
    match content:
        case str():
            return normalised(content).encode("utf-8", "surrogatepass")
        case TextPair():
            return b"".join(sorted(hashlib.sha256(_common(text)).digest() for text in content))
    return content_digest(content)


def content_digest(content: str | TextPair | ImageFile | NDArray[np.uint8]) -> bytes:
    """sha256 of a text, of a pair of texts, of an image file, or of pixels with their shape."""
    if isinstance(content, str):
        return hashlib.sha256(content.encode()).digest()
    if isinstance(content, TextPair):
        return hashlib.sha256(b"".join(map(content_digest, content))).digest()
    if isinstance(content, ImageFile):
        return content.sha256
    pixels = np.ascontiguousarray(content)
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
