"""Tokenisers of every kind; those that serving would not follow are refused with the remedy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from optimize.errors import CheckpointError
from optimize.models.checkpoint import FolderCheckpoint, fetch_model
from optimize.models.saved import load_tokenizer, save_model
from serving.model.artifact import TextSettings
from serving.model.text import TextEncoder
from tests.encoders import ENCODERS, LABELS, SENTENCES, saved_encoder, tiny_encoder, tiny_tokeniser

SAVED = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return saved_encoder("bert", tmp_path / "model")


def taken(folder: Path) -> Any:
    return fetch_model(FolderCheckpoint(source="folder", path=folder), "text", LABELS, Path(), fresh_head=False)[0]


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as refused:
        taken(folder)
    return str(refused.value)


def configure(folder: Path, **changed: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram"])
def test_serving_tokenises_as_the_checkpoint_does(kind: str, tmp_path: Path) -> None:
    theirs = tiny_tokeniser(kind)
    theirs.save_pretrained(tmp_path)
    settings = TextSettings(max_tokens=64, pad_token_id=theirs.pad_token_id, inputs=("input_ids", "attention_mask"))
    encoder = TextEncoder(settings, tmp_path)
    texts = [*SENTENCES[:5], "Ünïcode 🙂 words, UPPER case and a-hyphen"]
    assert [encoder.encode(text).tolist() for text in texts] == theirs(texts)["input_ids"]
    padded = encoder.collate([encoder.encode(text) for text in texts])
    assert padded["input_ids"].tolist() == theirs(texts, padding=True)["input_ids"]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_slow_tokeniser_is_converted(kind: str, tmp_path: Path) -> None:
    """vocab.txt, or vocab.json and merges.txt: transformers converts both without another package."""
    folder, theirs = tmp_path / "model", tiny_tokeniser(ENCODERS[kind][0])
    saved_encoder(kind, folder)
    made = json.loads((folder / "tokenizer.json").read_text())["model"]
    for name in SAVED:
        (folder / name).unlink()
    if kind == "bert":
        (folder / "vocab.txt").write_text("\n".join(sorted(made["vocab"], key=made["vocab"].__getitem__)))
    else:
        (folder / "vocab.json").write_text(json.dumps(made["vocab"]))
        (folder / "merges.txt").write_text(
            "\n".join(["#version: 0.2", *(" ".join(pair) for pair in made["merges"]), ""])
        )
    saved = save_model(taken(folder), tmp_path / "saved", folder)
    assert (saved / "tokenizer.json").is_file()
    assert load_tokenizer(saved)(SENTENCES)["input_ids"] == theirs(SENTENCES)["input_ids"]


def test_a_sentencepiece_model_alone_names_the_command_that_converts_it(tmp_path: Path) -> None:
    folder = saved_encoder("deberta-v2", tmp_path / "model")
    for name in SAVED:
        (folder / name).unlink()
    (folder / "spm.model").write_bytes(b"\x0a\x0e\x0a\x05<unk>")
    message = refusal(folder)
    assert "cannot be read from spm.model" in message
    assert "convert it with `pip install sentencepiece && python -c" in message


def test_no_tokeniser_and_half_a_tokeniser(folder: Path) -> None:
    whole = (folder / "tokenizer.json").read_bytes()
    (folder / "tokenizer.json").write_bytes(whole[: len(whole) // 2])
    message = refusal(folder)
    assert "cannot be read from tokenizer.json" in message
    assert message.endswith("copy the file again, or save it with tokenizer.save_pretrained")
    (folder / "tokenizer.json").unlink()
    assert "has no tokeniser (tokenizer.json, vocab.txt," in refusal(folder)


def test_added_tokens_without_embeddings_are_refused(folder: Path) -> None:
    tokeniser, model = load_tokenizer(folder), tiny_encoder("bert")
    there = len(tokeniser)
    tokeniser.add_tokens(["<user>", "<link>", "<number>"])
    tokeniser.save_pretrained(folder)
    message = refusal(folder)
    assert f"has {there + 3} ids and its model {there} embeddings" in message
    assert "model.resize_token_embeddings(len(tokenizer))" in message

    model.resize_token_embeddings(len(tokeniser))
    model.save_pretrained(folder)
    resized = taken(folder)
    assert resized.config.vocab_size == there + 3
    settings = TextSettings(max_tokens=40, pad_token_id=0, inputs=("input_ids", "attention_mask"))
    assert there + 1 in TextEncoder(settings, save_model(resized, folder.with_name("saved"), folder)).encode("a <link>")


def test_a_tokeniser_without_padding_is_refused(folder: Path) -> None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        fields = json.loads(path.read_text())
        fields.pop("pad_token")
        path.write_text(json.dumps(fields))
    # A tokeniser that has padded something keeps its padding in this file, too.
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"padding": None}))
    message = refusal(folder)
    assert "its tokeniser has no padding token" in message
    assert 'tokenizer.add_special_tokens({"pad_token": "[PAD]"})' in message


def test_texts_that_are_cut_at_their_start_are_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(folder, truncation_side="left")
    taken(folder)
    said = " ".join(capsys.readouterr().out.split())
    assert 'truncation_side = "left", so long texts are cut at their start, in training and in service' in said


def test_padding_at_the_start_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(folder, padding_side="left")
    taken(folder)
    assert 'padding_side = "left" is not taken over' in " ".join(capsys.readouterr().out.split())


def test_a_case_that_tokenizer_json_does_not_keep_is_refused(folder: Path) -> None:
    configure(folder, do_lower_case=True)
    taken(folder)
    configure(folder, do_lower_case=False)
    message = refusal(folder)
    assert "do_lower_case = false, and its tokenizer.json makes texts lower case; set it to true" in message
    # A tokeniser of BERT's own class acts on the setting.
    configure(folder, do_lower_case=False, tokenizer_class="BertTokenizerFast")
    saved = save_model(taken(folder), folder.with_name("saved"), folder)
    assert load_tokenizer(saved).backend_tokenizer.normalizer.normalize_str("A") == "A"


def test_every_family_has_a_tokeniser_of_its_kind() -> None:
    assert {kind for kind, _ in ENCODERS.values()} == {"wordpiece", "bpe", "unigram"}
