"""examples/own-bert, which README.md shows: a BERT from a folder becomes a cascade that answers."""

from __future__ import annotations

import shutil
from pathlib import Path

from transformers import BertConfig

from tests.commands import ROOT, needs_curl, optimize
from tests.examples.following import EXAMPLES, ask, lines
from tests.optimize.knowing import EASY_GATES, LABELS, followed, write_rows
from tests.server import serve
from tests.tiny import make_bert
from tests.tiny_recipes import messages


@needs_curl
def test_a_bert_and_a_csv_file_become_a_cascade_that_answers(tmp_path: Path) -> None:
    folder, home = tmp_path / "own-bert", tmp_path / "home"
    shutil.copytree(EXAMPLES / "own-bert", folder)
    make_bert(folder / "my-bert")
    config = BertConfig.from_pretrained(folder / "my-bert", num_labels=3)
    texts = [text for text, _ in messages(1350, seed=11)]
    rows = followed(folder / "my-bert", config, (0, 3), texts)
    write_rows(folder / "messages.csv", [(text, LABELS[answer]) for text, answer in rows])
    with (folder / "my-cascade.toml").open("a") as recipe:
        recipe.write(f"\n{EASY_GATES}")
    (run,) = lines("own-bert", "python -m optimize")
    said = optimize(*run, home=home, folder=folder).stdout
    for role in ("expert", "screen", "operating-point"):
        assert f"published my-cascade-{role}:" in said
    assert (folder / "build" / "my-cascade" / "report.html").is_file()
    (arguments,), (curl,) = lines("own-bert", "bentoml serve"), lines("own-bert", "curl")
    with serve(*arguments, home=home, folder=ROOT, log=tmp_path / "log") as server:
        answer = ask(curl, server.url)
        assert answer["models"]["screen"].startswith("my-cascade-screen:")
        assert answer["label"] in answer["scores"]
