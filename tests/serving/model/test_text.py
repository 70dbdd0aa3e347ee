from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import ArtifactError, InvalidInputError
from serving.model.artifact import Artifact
from serving.model.text import MAX_CHARACTERS, TextEncoder, check_text
from tests.conftest import TinyCascades


@pytest.fixture(scope="module")
def encoder(tiny_cascades: TinyCascades) -> TextEncoder:
    artifact = Artifact.open(tiny_cascades.artifact("tiny-text", "screen"))
    return TextEncoder(artifact.manifest.settings, artifact.folder)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("", "an empty string"),
        (" \n\t", "a string of white space"),
        (None, "null"),
        (7, "a number"),
        (True, "a boolean"),
        (["a"], "a list"),
        ("a" * (MAX_CHARACTERS + 1), "20,001"),
        ("bad \ud800 half", "lone surrogate"),
    ],
)
def test_a_bad_text_is_named_by_field_rule_and_kind(value: object, says: str) -> None:
    with pytest.raises(InvalidInputError, match="text: must") as error:
        check_text(value)
    assert says in str(error.value)
    assert error.value.field == "text"


def test_a_text_at_the_limit_passes() -> None:
    text = "é" * MAX_CHARACTERS
    assert check_text(text) is text


def test_ids_are_cut_and_padded(encoder: TextEncoder) -> None:
    short, long = encoder.encode("my card"), encoder.encode("my card " * 200)
    assert long.shape == (48,)
    batch = encoder.collate([short, long])
    assert set(batch) == {"input_ids", "attention_mask", "token_type_ids"}
    assert all(array.shape == (2, 48) and array.dtype == np.int64 for array in batch.values())
    assert batch["attention_mask"].sum(axis=1).tolist() == [len(short), 48]
    assert (batch["input_ids"][0, len(short) :] == 0).all()


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_a_batch_is_encoded_as_its_texts_are_alone(encoder: TextEncoder, texts: list[str]) -> None:
    for one, together in zip(texts, encoder.encode_batch(texts), strict=True):
        assert encoder.encode(one).tolist() == together.tolist()


def test_a_damaged_tokeniser_says_so(encoder: TextEncoder, tmp_path: object) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactError, match="publish the artifact again"):
        TextEncoder(encoder._settings, tmp_path)
