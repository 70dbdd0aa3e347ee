from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from serving.errors import ArtifactError, InvalidInputError
from serving.model.artifact import Artifact, TextSettings
from serving.model.text import LOCKED_CHARACTERS, MAX_CHARACTERS, TextEncoder, check_text
from serving.model.windows import MOST_WINDOWS
from tests.conftest import TinyCascades

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS = ["win", "free", "prize", "now", "e", "##e", "f", "##i", "n", "##n", "!", "\u4e2d"]
MAX_TOKENS = 12


def framed() -> processors.TemplateProcessing:
    return processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])


def word_piece() -> Tokenizer:
    """As BERT's: the normaliser deletes characters and accents, words of more than 100 characters become one token."""
    tokenizer = Tokenizer(models.WordPiece(_numbered([*SPECIALS, *WORDS]), unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = framed()
    return tokenizer


def byte_level() -> Tokenizer:
    """As RoBERTa's: each byte has a token, and white space looks at what follows it."""
    letters = [*SPECIALS, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    merges = [("w", "i"), ("wi", "n"), ("Ġ", "win"), ("f", "r"), ("Ġ", "Ġ")]
    tokenizer = Tokenizer(models.BPE(_numbered([*letters, *("".join(pair) for pair in merges)]), merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def unigram() -> Tokenizer:
    """As T5's, without a split at white space: any token may depend on the whole text."""
    scores = {"▁": -2.0, "▁win": -3.0, "win": -3.5, "n": -4.0, "n▁": -4.5, "fi": -3.0, "f": -4.0, "e": -4.0, "é": -3.5}
    tokenizer = Tokenizer(models.Unigram([*((name, 0.0) for name in SPECIALS), *scores.items()], unk_id=1))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    return tokenizer


def _numbered(tokens: list[str]) -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens)}


@pytest.fixture(scope="module", params=["right", "left"])
def side(request: pytest.FixtureRequest) -> str:
    """Where long texts are cut."""
    return str(request.param)


@pytest.fixture(scope="module", params=[word_piece, byte_level, unigram], ids=lambda make: make.__name__)
def made(request: pytest.FixtureRequest, side: str) -> Tokenizer:
    """A tokeniser that truncates by itself."""
    tokenizer: Tokenizer = request.param()
    tokenizer.add_special_tokens(SPECIALS)
    tokenizer.enable_truncation(MAX_TOKENS, direction=side)
    return tokenizer


def encoder_of(tokenizer: Tokenizer, folder: Path, **settings: Any) -> TextEncoder:
    tokenizer.save(str(folder / "tokenizer.json"))
    chosen: dict[str, Any] = {"max_tokens": MAX_TOKENS, "pad_token_id": 0, "inputs": ("input_ids",), **settings}
    return TextEncoder(TextSettings(**chosen), folder)


@pytest.fixture(scope="module")
def cutting(made: Tokenizer, side: str, tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return encoder_of(made, tmp_path_factory.mktemp("cutting"), truncation_side=side)


@pytest.fixture(scope="module")
def windowing(made: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    return encoder_of(made, tmp_path_factory.mktemp("windowing"), long_texts="windows")


PIECES = ["win", "free ", " ", "  ", "\n", "\u200b", "\u00ad", "\x00", "e\u0301", "\u0301", "[SEP]", "[CLS]", "x" * 101]
PIECES += ["\u4e2d", "\ufb01", "\u1100\u1161", "!", "win free prize now", "\U0001f600"]
TEXTS = st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 100)), min_size=1, max_size=10).map(
    lambda runs: "".join(piece * times for piece, times in runs)[:MAX_CHARACTERS]
)


@given(TEXTS)
def test_ids_are_those_of_the_whole_text_cut_by_the_tokeniser_itself(
    made: Tokenizer, cutting: TextEncoder, windowing: TextEncoder, side: str, text: str
) -> None:
    expected = made.encode(text)
    cut, truncated = cutting.item(text)
    assert cut.tolist() == cutting.encode(text).tolist() == cutting.encode_batch([text])[0].tolist() == expected.ids
    assert truncated is bool(expected.overflowing)
    windows, missing = windowing.item(text)
    ((batched, batched_missing),) = windowing.items([text])
    assert (batched.tolist(), batched_missing) == (windows.tolist(), missing)
    assert np.atleast_2d(windows)[0 if side == "right" else -1].tolist() == expected.ids
    assert missing is (len(expected.overflowing) + 1 > MOST_WINDOWS)
    if truncated:
        assert windows.shape[1] == MAX_TOKENS
        assert windows[-1, -3:].tolist() == windowing._encoding(text).ids[-3:]


@pytest.mark.parametrize(
    "blind", ["\u200b" * 2_560, "\u00ad" * 2_560, "\x00" * 2_560, "\u0301" * 2_560, ("x" * 101 + " ") * 30]
)
def test_what_the_tokeniser_deletes_hides_nothing(tmp_path: Path, blind: str) -> None:
    encoder = encoder_of(word_piece(), tmp_path, max_tokens=48)
    shown = [token for token in encoder.encode(f"{blind} win free prize now").tolist() if token != 1]
    assert shown == encoder.encode("win free prize now").tolist() == [2, 4, 5, 6, 7, 3]


def test_a_long_text_is_encoded_without_pythons_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(word_piece(), tmp_path)
    whole, called = encoder._tokenizer, []

    class Noting:
        def __getattr__(self, name: str) -> Any:
            called.append(name)
            return getattr(whole, name)

    monkeypatch.setattr(encoder, "_tokenizer", Noting())
    for characters in (LOCKED_CHARACTERS, LOCKED_CHARACTERS + 1):
        encoder.item("x" * characters)
    assert called == ["encode", "encode_batch_fast"], "the library keeps the lock in the first"


def test_a_tokeniser_that_leaves_no_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"max_tokens must be more than the 2 tokens .* got 2; raise it"):
        encoder_of(word_piece(), tmp_path, max_tokens=2)


def test_a_tokenisers_own_truncation_and_padding_are_left_out(tmp_path: Path) -> None:
    tokenizer = word_piece()
    tokenizer.enable_truncation(4)
    tokenizer.enable_padding(length=64)
    encoder = encoder_of(tokenizer, tmp_path)
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"]["max_length"] == 4
    assert encoder.encode("win " * 6).tolist() == [2, *[4] * 6, 3]


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


def test_a_batch_has_a_row_for_each_window(windowing: TextEncoder) -> None:
    short, long = (windowing.item(text)[0] for text in ("win", "win free " * 12))
    assert (long.ndim, long.shape[1]) == (2, MAX_TOKENS)
    batch = windowing.collate([short, long])["input_ids"]
    assert batch.shape == (1 + len(long), MAX_TOKENS)
    np.testing.assert_array_equal(batch[1:], long)
    assert batch[0, : len(short)].tolist() == short.tolist()
    assert not batch[0, len(short) :].any()


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_a_batch_is_encoded_as_its_texts_are_alone(encoder: TextEncoder, texts: list[str]) -> None:
    for one, together in zip(texts, encoder.encode_batch(texts), strict=True):
        assert encoder.encode(one).tolist() == together.tolist()


def test_a_damaged_tokeniser_says_so(encoder: TextEncoder, tmp_path: object) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ArtifactError, match="publish the artifact again"):
        TextEncoder(encoder._settings, tmp_path)
