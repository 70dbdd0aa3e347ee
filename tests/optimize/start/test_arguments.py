from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands import optimize
from tests.encoders import saved_encoder
from tests.optimize.start.brought import texts


def test_inspect_and_new_on_the_command_line(tmp_path: Path) -> None:
    texts("semicolon", tmp_path)
    saved_encoder("bert", tmp_path / "model")
    said = optimize("inspect", "reviews.csv", "--checkpoint", "model", folder=tmp_path).stdout
    assert "label_column = 'sorte' (guessed by what it holds)" in said
    assert "lengths in tokens" in said
    assert "a run with its own fine-tuning takes" in said
    said = optimize("new", "--checkpoint", "model", "--data", "reviews.csv", folder=tmp_path).stdout
    assert said.endswith("reviews.toml is written; look at it, then: python -m optimize run reviews.toml\n")
    again = optimize("new", "--checkpoint", "model", "--data", "reviews.csv", folder=tmp_path, check=False)
    assert again.returncode == 1
    assert again.stderr.startswith("error: reviews.toml is there already and is not overwritten; choose another --name")


@pytest.mark.parametrize("verb", [("inspect", "nowhere.csv"), ("new", "--checkpoint", "x", "--data", "nowhere.csv")])
def test_an_error_is_one_line(verb: tuple[str, ...], tmp_path: Path) -> None:
    done = optimize(*verb, folder=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: data nowhere.csv: there is no such file or folder; write the path")
    assert done.stderr.count("\n") == 1
