"""Prepares the content of a request for both stages of a cascade, and makes example items to warm up with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from serving.arrays import Array
from serving.errors import MalformedError
from serving.model.artifact import Artifact, ImageSettings, TextSettings
from serving.model.image import ImageDecoder, load, reduce
from serving.model.pairs import text_collator, text_encoder
from serving.model.shapes import lengths_of
from serving.model.text import Text, TextCollator, TextEncoder
from serving.model.weight import decoding_bytes
from serving.model.windows import MOST_WINDOWS

Preprocessor = TextEncoder | ImageDecoder
Collator = TextCollator | TextEncoder | ImageDecoder
"""Makes the inputs of a graph of prepared items, and logits of items of the graph's rows."""
Content = Text | Image.Image
"""A text or a pair of texts, or an image whose header was read."""


class StageItems(NamedTuple):
    """The content of a request, prepared for the screen and for the expert.

    `truncated`: one of them does not see the whole text.
    """

    screen: Array
    expert: Array
    truncated: bool = False


def preprocessor(artifact: Artifact) -> Preprocessor:
    """The preprocessor for the input that an artifact takes."""
    settings = artifact.manifest.settings
    if isinstance(settings, TextSettings):
        return text_encoder(settings, artifact.folder)
    return ImageDecoder(settings)


def collator(artifact: Artifact) -> Collator:
    """What a stage needs that is given prepared items: a tokeniser takes 8 MB, and nobody would ask it."""
    settings = artifact.manifest.settings
    return text_collator(settings) if isinstance(settings, TextSettings) else ImageDecoder(settings)


def example_items(settings: TextSettings | ImageSettings) -> list[Array]:
    """One item of each length that is timed by itself: texts of 8, 16, 32, … padding tokens, or a black image."""
    if isinstance(settings, ImageSettings):
        return [np.zeros((len(settings.mean), settings.height, settings.width), dtype=np.float32)]
    return [np.full(length, settings.pad_token_id, dtype=np.int64) for length in lengths_of(settings)]


def example_windows(settings: TextSettings | ImageSettings) -> list[Array]:
    """One item of each length beyond `max_tokens` that is timed by itself: 2, 4 and 8 windows, where there are any."""
    if isinstance(settings, ImageSettings) or settings.long_texts == "cut":
        return []
    shapes = [(windows, settings.max_tokens) for windows in (2, 4, MOST_WINDOWS)]
    return [np.full(shape, settings.pad_token_id, dtype=np.int64) for shape in shapes]


def check_items(settings: TextSettings | ImageSettings, items: Sequence[Array]) -> None:
    """Raise MalformedError unless all items have the type and the shape that a model with these settings takes."""
    if isinstance(settings, ImageSettings):
        shape = (len(settings.mean), settings.height, settings.width)
        sound = all(item.dtype == np.float32 and item.shape == shape for item in items)
        rule = f"float32 {list(shape)}"
    else:
        most = settings.max_tokens
        sound = all(item.dtype == np.int64 and _sound_text(settings, item.shape) for item in items)
        rule = f"int64 of 1 to {most} token ids"
        if settings.long_texts == "windows":
            rule += f" or of 2 to {MOST_WINDOWS} windows of {most}"
    if not sound:
        raise MalformedError("body", f"must hold items of {rule}, got others; prepare them as the artifact says")


def _sound_text(settings: TextSettings, shape: tuple[int, ...]) -> bool:
    if len(shape) == 2 and settings.long_texts == "windows":
        return 2 <= shape[0] <= MOST_WINDOWS and shape[1] == settings.max_tokens
    return len(shape) == 1 and 1 <= shape[0] <= settings.max_tokens


def items_of(ours: Preprocessor, theirs: Preprocessor, content: Content) -> StageItems:
    """Prepare `content` for the screen (`ours`) and the expert (`theirs`). An image is decoded once for both."""
    if isinstance(ours, ImageDecoder):
        assert isinstance(theirs, ImageDecoder)
        assert isinstance(content, Image.Image)
        decoded = load(content, max(ours.least_side, theirs.least_side))
        pixels = ours.from_decoded(decoded)
        return StageItems(pixels, pixels if theirs is ours else theirs.from_decoded(decoded))
    assert isinstance(theirs, TextEncoder)
    assert not isinstance(content, Image.Image)
    item, truncated = ours.item(content)
    if theirs is ours:
        return StageItems(item, item, truncated)
    expert_item, expert_truncated = theirs.item(content)
    return StageItems(item, expert_item, truncated or expert_truncated)


def preparing_bytes(ours: Preprocessor, theirs: Preprocessor, content: Content) -> int:
    """The memory that `items_of` takes for an image while it works; of no account for a text."""
    if not isinstance(content, Image.Image):
        return 0
    assert isinstance(ours, ImageDecoder)
    assert isinstance(theirs, ImageDecoder)
    reduce(content, max(ours.least_side, theirs.least_side))
    return decoding_bytes(content) + max(each.resizing_bytes(content.size) for each in (ours, theirs))


def same_preprocessing(one: Artifact, other: Artifact) -> bool:
    """Whether both artifacts prepare every content the same way."""
    if one.manifest.settings != other.manifest.settings:
        return False
    settings = one.manifest.settings
    if isinstance(settings, TextSettings):
        return one.manifest.files[settings.tokenizer] == other.manifest.files[settings.tokenizer]
    return True
