"""examples/own-bert, which README.md shows: a BERT from a folder becomes a cascade that answers."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from tests.commands import ROOT, needs_curl, optimize
from tests.examples.following import EXAMPLES, ask, lines
from tests.server import serve
from tests.tiny_recipes import messages


@needs_curl
def test_a_bert_and_a_csv_file_become_a_cascade_that_answers(tiny_bert: Path, tmp_path: Path) -> None:
    folder, home = tmp_path / "own-bert", tmp_path / "home"
    shutil.copytree(EXAMPLES / "own-bert", folder)
    (folder / "my-bert").symlink_to(tiny_bert)
    with (folder / "messages.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *messages(240, seed=11)])
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
