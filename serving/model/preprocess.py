"""From a request to the arrays of both stages, as the artifacts say, and the shapes to warm up with."""

from __future__ import annotations

from typing import Any

import numpy as np

from serving.arrays import Array
from serving.model.artifact import Artifact, ImageSettings, TextSettings
from serving.model.image import ImageDecoder, load
from serving.model.session import Session
from serving.model.text import TextEncoder

Preprocessor = TextEncoder | ImageDecoder
WARM_UP_BATCH_SIZES = (1, 2, 4, 8, 16, 32)


def preprocessor(artifact: Artifact) -> Preprocessor:
    """The artifact's own way from a request to an array."""
    settings = artifact.manifest.settings
    if isinstance(settings, TextSettings):
        return TextEncoder(settings, artifact.folder)
    return ImageDecoder(settings)


def warm_up(session: Session, artifact: Artifact, preprocess: Preprocessor) -> None:
    """Run every batch size and length once before the service says that it is ready."""
    for item in example_items(artifact.manifest.settings):
        session.warm_up(*(preprocess.collate([item] * size) for size in WARM_UP_BATCH_SIZES))


def example_items(settings: TextSettings | ImageSettings) -> list[Array]:
    """An item of every shape that takes its own time: texts of 8, 16, 32, … padding tokens, or a black image."""
    if isinstance(settings, ImageSettings):
        return [np.zeros((len(settings.mean), settings.height, settings.width), dtype=np.float32)]
    lengths = [length for length in (8, 16, 32, 64, 128, 256) if length < settings.max_tokens]
    return [np.full(length, settings.pad_token_id, dtype=np.int64) for length in (*lengths, settings.max_tokens)]


def items_of(ours: Preprocessor, theirs: Preprocessor, content: Any) -> tuple[Array, Array]:
    """The screen's and the expert's item: one, where both have the same preprocessing. An image is decoded once."""
    if isinstance(ours, ImageDecoder):
        assert isinstance(theirs, ImageDecoder), "both stages of a cascade are asked the same"
        image = load(content, max(ours.least_side, theirs.least_side))
        pixels = ours.from_image(image)
        return pixels, pixels if theirs is ours else theirs.from_image(image)
    assert isinstance(theirs, TextEncoder), "both stages of a cascade are asked the same"
    tokens = ours.encode(content)
    return tokens, tokens if theirs is ours else theirs.encode(content)


def same_preprocessing(one: Artifact, other: Artifact) -> bool:
    if one.manifest.settings != other.manifest.settings:
        return False
    settings = one.manifest.settings
    if isinstance(settings, TextSettings):
        return one.manifest.files[settings.tokenizer] == other.manifest.files[settings.tokenizer]
    return True
