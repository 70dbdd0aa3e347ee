"""Tiny text encoders of every family, with random weights and a tiny tokeniser of the family's kind."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

POSITIONS = 40
LABELS = ("a", "b", "c")
WORDS = (
    "pay your invoice today win a free prize now call me later meeting at noon the parcel arrives tomorrow urgent claim"
)
SENTENCES = [" ".join(random.Random(seed).choices(WORDS.split(), k=3 + seed % 10)) for seed in range(50)]
_BERT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": POSITIONS,
}
_ROBERTA = {**_BERT, "max_position_embeddings": POSITIONS + 2, "type_vocab_size": 1}
ENCODERS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert": ("wordpiece", _BERT),
    "distilbert": (
        "wordpiece",
        {"dim": 32, "hidden_dim": 64, "n_layers": 4, "n_heads": 4, "max_position_embeddings": POSITIONS},
    ),
    "roberta": ("bpe", _ROBERTA),
    "xlm-roberta": ("unigram", _ROBERTA),
    "camembert": ("unigram", _ROBERTA),
    "electra": ("wordpiece", {**_BERT, "embedding_size": 16}),
    "albert": ("unigram", {**_BERT, "embedding_size": 16}),
    "deberta-v2": (
        "unigram",
        {
            **_BERT,
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 8,
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "position_biased_input": False,
        },
    ),
    "modernbert": ("bpe", {**_BERT, "local_attention": 8, "global_attn_every_n_layers": 2}),
    "mobilebert": (
        "wordpiece",
        {**_BERT, "embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 2},
    ),
}
"""The kind of tokeniser of each family, and the shape of its tiny model."""


def tiny_encoder(kind: str, **changed: Any) -> Any:
    """A model of the family `kind` in evaluation mode; `changed` are fields of its config."""
    tokeniser, shape = ENCODERS[kind]
    ids = tiny_tokeniser(tokeniser)
    fields = {"vocab_size": len(ids), "pad_token_id": ids.pad_token_id, "num_labels": len(LABELS)}
    # At the default range, layers as narrow as these pass nothing on.
    config = AutoConfig.for_model(kind, **{"initializer_range": 0.1, **fields, **shape, **changed})
    config.id2label, config.label2id = dict(enumerate(LABELS)), {label: i for i, label in enumerate(LABELS)}
    torch.manual_seed(0)
    return AutoModelForSequenceClassification.from_config(config).eval()


def tiny_batch(kind: str) -> dict[str, Any]:
    """Inputs of the model of `tiny_encoder`: three texts of unequal length."""
    arrays = tiny_tokeniser(ENCODERS[kind][0])(SENTENCES[:3], padding=True, return_tensors="np")
    named = {"input_ids": arrays["input_ids"], "attention_mask": arrays["attention_mask"]}
    return {name: array.astype("int64") for name, array in named.items()}


def saved_encoder(kind: str, folder: Path, **changed: Any) -> Path:
    """A checkpoint folder with the model of `tiny_encoder` and its tokeniser."""
    tiny_encoder(kind, **changed).save_pretrained(folder)
    tiny_tokeniser(ENCODERS[kind][0]).save_pretrained(folder)
    return folder


@cache
def tiny_tokeniser(kind: str) -> Any:
    """A fast tokeniser of the kind `wordpiece`, `bpe` or `unigram`, trained on `SENTENCES`."""
    if kind == "wordpiece":
        special = pad, unknown, first, last, mask = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
    else:
        special = first, pad, last, unknown, mask = "<s>", "<pad>", "</s>", "<unk>", "<mask>"
    if kind == "wordpiece":
        made = Tokenizer(models.WordPiece(unk_token=unknown))
        made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=200, special_tokens=list(special))
    elif kind == "bpe":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel()
        letters = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=list(special), initial_alphabet=letters)
    else:
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=list(special), unk_token=unknown)
    made.train_from_iterator(SENTENCES, trainer)
    ends = [(first, made.token_to_id(first)), (last, made.token_to_id(last))]
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", pair=f"{first} $A {last} $B:1 {last}:1", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, cls_token=first, sep_token=last, pad_token=pad, unk_token=unknown, mask_token=mask
    )
