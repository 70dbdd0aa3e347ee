"""Pairs of texts, from a table to the served answer: does the second text name the same matter as the first?"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from optimize.profiling.subject import Cell, find
from serving.model.artifact import TextSettings
from tests.commands import ROOT, optimize
from tests.server import PATIENT_MS, in_full, serve
from tests.tiny_recipes import TEXT_RECIPE

MATTERS = ("card", "refund", "fee")
OTHERS = ("old", "new", "second", "first", "last", "small", "large", "green", "blue", "red")
NAME = "tiny-pairs"
RECIPE = f"""
name = "{NAME}"
task = "text"
seed = 3

[checkpoint]
source = "folder"
path = "bert"

[data]
source = "files"
train = "pairs.csv"
text_pair_column = "text_pair"
calibration_size = 8

[text]
max_tokens = 16

[[teacher]]
step = "fine-tune"
epochs = 20
batch_size = 16
learning_rate = 3e-3

[[expert]]
step = "export"

[[screen]]
step = "distill"
layers = [0]
epochs = 1
learning_rate = 1e-3

[[screen]]
step = "export"

[[screen]]
step = "quantize"
{TEXT_RECIPE[TEXT_RECIPE.index("[gates]") :].replace("0.1", "1.0")}"""


def rows(count: int) -> list[tuple[str, str, str]]:
    """(text, text_pair, label) of which neither text alone tells the label."""
    rng = random.Random(5)

    def text(matter: str) -> str:
        return f"{rng.choice(OTHERS)} {matter} {rng.choice(OTHERS)}"

    found = []
    for number in range(count):
        one, other = rng.sample(MATTERS, 2)
        same = number % 2 == 0
        found.append((text(one), text(one if same else other), "same" if same else "other"))
    return found


def make_bert(folder: Path) -> None:
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *MATTERS, *OTHERS]))
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(folder / "bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=5 + len(MATTERS) + len(OTHERS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    BertForSequenceClassification(config).save_pretrained(folder / "bert")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the cascade's build, and the BentoML home in which it is published."""
    folder = tmp_path_factory.mktemp("pairs")
    make_bert(folder)
    with (folder / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "text_pair", "label"), *rows(400)])
    (folder / "recipe.toml").write_text(RECIPE)
    optimize("run", folder / "recipe.toml", "--root", folder, "--build", folder / "build", home=folder / "home")
    return folder


@pytest.fixture(scope="module")
def client(made: Path) -> Iterator[httpx.Client]:
    arguments = ("--arg", f"text={NAME}", "--arg", "image=")
    with (
        serve(*arguments, home=made / "home", folder=ROOT, log=made / "log") as server,
        server.client() as opened,
    ):
        yield opened


def test_a_cascade_learns_and_keeps_what_takes_both_texts(made: Path) -> None:
    expert, screen = (find(str(made / "build" / f"{NAME}-{role}")) for role in ("expert", "screen"))
    for subject in (expert, screen):
        settings = subject.artifact.manifest.settings
        assert isinstance(settings, TextSettings)
        assert settings.pairs
    assert expert.artifact.manifest.quality["cpu-fp32"]["holdout_accuracy"] > 0.9
    for request in expert.requests(Cell(10, 3)):
        assert 8 <= len(expert.prepare([request])[0]) <= 12


def ask(client: httpx.Client, path: str, **body: Any) -> dict[str, Any]:
    answer: dict[str, Any] = in_full(client, path, json={**body, "budget_ms": PATIENT_MS}).json()
    return answer


def test_a_pair_is_served_as_it_was_learned(client: httpx.Client) -> None:
    pairs = rows(20)
    texts, text_pairs, labels = map(list, zip(*pairs, strict=True))
    answers = ask(client, "/classify_texts", texts=texts, text_pairs=text_pairs)["answers"]
    asked = [place for place, answer in enumerate(answers) if answer["stage"] == "expert"]
    assert asked, "no screen of one layer is sure of all"
    assert [answers[place]["label"] for place in asked] == [labels[place] for place in asked]
    one = ask(client, "/classify_text", text=texts[0], text_pair=text_pairs[0])
    assert one["scores"] == pytest.approx(answers[0]["scores"], abs=1e-5)
    assert not one["truncated"]
    assert client.get("/models").json()["text"]["operating_point"]["why_not"] == [], "golden pairs hold"
    assert ask(client, "/classify_text", text="card", text_pair="old " * 20)["truncated"]


def test_a_pair_with_a_fault_is_told_of_it(client: httpx.Client) -> None:
    reply = client.post("/classify_text", json={"text": "old card"})
    assert (reply.status_code, reply.json()["error"]["field"]) == (422, "text_pair")
    answers = ask(client, "/classify_texts", texts=["card", "card"], text_pairs=["", "fee"])["answers"]
    assert [answer.get("error", {}).get("field") for answer in answers] == ["text_pairs[0]", None]
    assert "ClassifyTextPair" in client.get("/docs.json").text
