from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tokenizers import pre_tokenizers
from transformers import BertTokenizerFast, PreTrainedTokenizerBase, RobertaTokenizerFast

from serving.errors import ArtifactError, InvalidInputError
from serving.model.artifact import TextSettings
from serving.model.pairs import PairEncoder, TextPair, check_pair, longest_first, text_encoder
from serving.model.text import LOCKED_CHARACTERS, MAX_CHARACTERS
from serving.model.windows import length_of
from tests.serving.model.test_text import PIECES, WORDS

MAX_TOKENS = 12
BERT = ("input_ids", "attention_mask", "token_type_ids")


def bert(folder: Path) -> PreTrainedTokenizerBase:
    """WordPiece, [CLS] a [SEP] b [SEP], two token types."""
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    return BertTokenizerFast(vocab_file=str(folder / "vocab.txt"))


def roberta(folder: Path) -> PreTrainedTokenizerBase:
    """Byte-level BPE, <s> a </s></s> b </s>, one token type."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet()), "wi", "win"]
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\nw i\nwi n\n")
    return RobertaTokenizerFast(vocab_file=str(folder / "vocab.json"), merges_file=str(folder / "merges.txt"))


Made = tuple[PreTrainedTokenizerBase, PairEncoder]


def encoder_of(folder: Path, **settings: Any) -> PairEncoder:
    chosen: dict[str, Any] = {"max_tokens": MAX_TOKENS, "pad_token_id": 0, "inputs": BERT, "pairs": True, **settings}
    encoder = text_encoder(TextSettings(**chosen), folder)
    assert isinstance(encoder, PairEncoder)
    return encoder


@pytest.fixture(scope="module", params=["right", "left"])
def side(request: pytest.FixtureRequest) -> str:
    """Where long pairs are cut."""
    return str(request.param)


@pytest.fixture(scope="module", params=[bert, roberta], ids=lambda make: make.__name__)
def made(request: pytest.FixtureRequest, side: str, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A tokeniser as transformers has it, and the encoder of its file."""
    make: Callable[[Path], PreTrainedTokenizerBase] = request.param
    folder = tmp_path_factory.mktemp(make.__name__)
    theirs = make(folder)
    theirs.truncation_side = side
    theirs.save_pretrained(folder)
    return theirs, encoder_of(folder, pad_token_id=theirs.pad_token_id, truncation_side=side)


# Short ones: transformers makes an encoding of each combination of what is left over.
SHORT_PIECES = [*(piece for piece in PIECES if len(piece) < 100), "</s>"]
TEXTS = st.lists(st.tuples(st.sampled_from(SHORT_PIECES), st.integers(1, 3)), max_size=3).map(
    lambda runs: "".join(piece * times for piece, times in runs)
)
PAIRS = st.builds(TextPair, TEXTS, TEXTS)


@given(st.lists(PAIRS, min_size=1, max_size=4))
def test_a_batch_is_what_transformers_makes_of_the_pairs(made: Made, pairs: list[TextPair]) -> None:
    theirs, encoder = made
    first, second = zip(*pairs, strict=True)
    wanted = theirs(
        list(first),
        list(second),
        truncation=True,
        max_length=MAX_TOKENS,
        padding=True,
        return_tensors="np",
        return_token_type_ids=True,
    )
    items = [encoder.item(pair) for pair in pairs]
    for got in (encoder.collate([item for item, _ in items]), encoder.collate(encoder.encode_batch(pairs))):
        assert set(got) == set(BERT)
        for name, array in got.items():
            assert array.dtype == np.int64
            np.testing.assert_array_equal(array, wanted[name], err_msg=name)
    assert [(item.tolist(), cut) for item, cut in encoder.items(pairs)] == [(item.tolist(), cut) for item, cut in items]
    lengths = map(len, theirs(list(first), list(second)).input_ids)
    for pair, (item, truncated), length in zip(pairs, items, lengths, strict=True):
        assert truncated is (length > MAX_TOKENS)
        assert encoder.encode(pair).tolist() == item.tolist()
        assert item.ndim == 1
        assert length_of(item) == min(length, MAX_TOKENS)


def test_the_second_text_has_types_of_its_own_where_the_family_has_them(made: Made) -> None:
    theirs, encoder = made
    types = encoder.collate([encoder.encode(TextPair("win", "now"))])["token_type_ids"][0].tolist()
    assert types == ([0, 0, 0, 1, 1] if isinstance(theirs, BertTokenizerFast) else [0] * len(types))


def test_a_model_without_types_is_given_none(tmp_path: Path) -> None:
    theirs = bert(tmp_path)
    theirs.save_pretrained(tmp_path)
    pair = TextPair("win free", "now")
    encoder = encoder_of(tmp_path, inputs=BERT[:2])
    item = encoder.encode(pair)
    assert item.tolist() == theirs(*pair).input_ids
    assert set(encoder.collate([item])) == set(BERT[:2])


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 20))
def test_both_texts_are_cut_to_what_there_is_room_for(first: int, second: int, over: int) -> None:
    room = max(first + second - over, 1)
    kept = longest_first(first, second, room)
    if first + second > room:
        assert sum(kept) == room
        shorter = min((first, second), (second, first))
        assert min(kept) == min(shorter[0], room // 2), "the longer text is cut first"
    assert kept[0] <= max(first, room - second)


def test_a_long_pair_is_encoded_without_pythons_lock(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    _, encoder = made
    whole, called = encoder._tokenizer, []

    class Noting:
        def __getattr__(self, name: str) -> Any:
            called.append(name)
            return getattr(whole, name)

    monkeypatch.setattr(encoder, "_tokenizer", Noting())
    half = LOCKED_CHARACTERS // 2
    for characters in (half, half + 1):
        encoder.item(TextPair("x" * half, "x" * characters))
    assert called == ["encode", "encode_batch_fast"]


@pytest.mark.parametrize(
    ("text", "text_pair", "field", "says"),
    [
        ("", "b", "text", "must not be empty, got an empty string"),
        ("a", " \n", "text_pair", "must not be empty, got a string of white space"),
        ("a", None, "text_pair", "must be a string, got null"),
        (7, "b", "text", "must be a string, got a number"),
        ("a", "b" * MAX_CHARACTERS, "text_pair", "must have at most 20,000 characters together with text, got 20,001"),
        ("a", "bad \ud800 half", "text_pair", "lone surrogate"),
    ],
)
def test_a_bad_pair_is_named_by_field_rule_and_kind(text: object, text_pair: object, field: str, says: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field}: must") as error:
        check_pair(text, text_pair)
    assert says in str(error.value)
    assert error.value.field == field


def test_a_pair_at_the_limit_passes() -> None:
    half = "é" * (MAX_CHARACTERS // 2)
    assert check_pair(half, half) == (half, half)


def test_a_tokeniser_that_leaves_no_room_is_refused(made: Made, tmp_path: Path) -> None:
    theirs, _ = made
    theirs.save_pretrained(tmp_path)
    added = theirs.num_special_tokens_to_add(pair=True)
    with pytest.raises(ArtifactError, match=f"more than the {added} tokens that .* adds to each pair of texts"):
        encoder_of(tmp_path, max_tokens=added)


def test_pairs_in_windows_are_refused() -> None:
    with pytest.raises(ValidationError, match='pairs needs long_texts = "cut", got "windows"'):
        TextSettings(max_tokens=8, pad_token_id=0, inputs=BERT, pairs=True, long_texts="windows")


def test_settings_for_single_texts_are_what_they_were() -> None:
    settings = TextSettings(max_tokens=8, pad_token_id=0, inputs=BERT)
    assert set(settings.model_dump()) == {
        *("kind", "tokenizer", "max_tokens", "long_texts", "watched_label", "pad_token_id", "inputs"),
    }
    assert settings.model_copy(update={"pairs": True}).model_dump()["pairs"] is True
