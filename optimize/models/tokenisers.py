"""Take in the tokeniser of a checkpoint: read it, and refuse what serving would do otherwise.

Serving tokenises with the file tokenizer.json alone, cuts texts at their end and pads them there.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedTokenizerBase

from optimize.errors import CheckpointError
from optimize.models.saved import load_tokenizer
from optimize.progress import console

FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "spm.model", "spiece.model", "sentencepiece.bpe.model")
"""The files that tokenisers are made of; one of them must be there."""
SETTINGS = "tokenizer_config.json"


def require_tokeniser(folder: Path, config: PretrainedConfig) -> None:
    """Raise CheckpointError unless serving can tokenise for the model of `config` as this checkpoint does."""
    tokenizer = readable_tokeniser(folder)
    ids = max(tokenizer.get_vocab().values()) + 1
    if ids > config.vocab_size:
        raise CheckpointError(
            f"checkpoint {folder}: its tokeniser has {ids} ids and its model {config.vocab_size} embeddings, so that "
            "some tokens have none; call model.resize_token_embeddings(len(tokenizer)), train, and save both"
        )


def readable_tokeniser(folder: Path) -> PreTrainedTokenizerBase:
    """The tokeniser in `folder`, of which serving does the same. Raises CheckpointError when it would not."""
    tokenizer = _fast_tokeniser(folder)
    if tokenizer.pad_token_id is None:
        raise CheckpointError(
            f"checkpoint {folder}: its tokeniser has no padding token, and texts are padded to share a batch; add one "
            'with tokenizer.add_special_tokens({"pad_token": "[PAD]"}) and '
            "model.resize_token_embeddings(len(tokenizer)), set model.config.pad_token_id, and save both"
        )
    _require_sides(folder, tokenizer)
    _require_case(folder, tokenizer)
    return tokenizer


def _fast_tokeniser(folder: Path) -> PreTrainedTokenizerBase:
    there = [name for name in FILES if (folder / name).is_file()]
    if not there:
        raise CheckpointError(
            f"checkpoint {folder} has no tokeniser ({', '.join(FILES[:-1])} or {FILES[-1]}); save it there with "
            "tokenizer.save_pretrained"
        )
    try:
        tokenizer = load_tokenizer(folder)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exception for a file that is not whole
        raise _unreadable(folder, there[0], str(error)) from None
    if not tokenizer.is_fast:
        raise _unreadable(folder, there[0], f"{type(tokenizer).__name__} has no form in tokenizer.json")
    return tokenizer


def _unreadable(folder: Path, name: str, reason: str) -> CheckpointError:
    start = f"checkpoint {folder}: its tokeniser cannot be read from {name} ({reason.strip().splitlines()[0][:120]})"
    if name == "tokenizer.json":
        return CheckpointError(f"{start}; copy the file again, or save it with tokenizer.save_pretrained")
    return CheckpointError(
        f'{start}; convert it with `pip install sentencepiece && python -c "from transformers import AutoTokenizer; '
        f"AutoTokenizer.from_pretrained('{folder}').save_pretrained('{folder}')\"`"
    )


def _require_sides(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.truncation_side != "right":
        console.print(
            f'checkpoint {folder}: truncation_side = "{tokenizer.truncation_side}", so long texts are cut at their '
            "start, in training and in service"
        )
    if tokenizer.padding_side != "right":
        console.print(
            f'checkpoint {folder}: padding_side = "{tokenizer.padding_side}" is not taken over; texts are padded at '
            "their end, and answered as each is alone"
        )


def _require_case(folder: Path, tokenizer: Any) -> None:
    """A generic fast tokeniser has `do_lower_case` in its settings and does not act on it."""
    path = folder / SETTINGS
    wanted = json.loads(path.read_text(encoding="utf-8")).get("do_lower_case") if path.is_file() else None
    normalizer = tokenizer.backend_tokenizer.normalizer
    lowers = normalizer is not None and "A" not in normalizer.normalize_str("A")
    if wanted is not None and wanted != lowers:
        does = "makes" if lowers else "does not make"
        raise CheckpointError(
            f"checkpoint {folder}: {SETTINGS} has do_lower_case = {str(wanted).lower()}, and its tokenizer.json {does} "
            f"texts lower case; set it to {str(lowers).lower()} if the model was trained with tokenizer.json, or save "
            "the tokeniser that it was trained with"
        )
