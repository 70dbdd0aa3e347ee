"""Texts of a wanted length."""

from __future__ import annotations

import pytest

from benchmarks.texts import encoder, text_of
from serving.model.artifact import Artifact
from tests.conftest import TinyCascades


@pytest.mark.parametrize("tokens", [3, 20, 40])
def test_a_text_has_as_many_tokens_as_asked(tokens: int, tiny_cascades: TinyCascades) -> None:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    assert len(encoder(artifact).encode(text_of(tokens, artifact))) == tokens


def test_a_model_of_images_encodes_no_texts(tiny_cascades: TinyCascades) -> None:
    with pytest.raises(AssertionError, match="send texts"):
        encoder(Artifact.open(tiny_cascades.artifact("tiny-image", "screen")))
