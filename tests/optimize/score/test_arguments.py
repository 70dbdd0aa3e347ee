from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from optimize.score.arguments import add_score


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_score(parser)
    return parser.parse_args(words)


def test_names_and_defaults() -> None:
    options = parsed("demo-text", "in.csv", "out.parquet")
    assert (options.name, options.input, options.out) == ("demo-text", Path("in.csv"), Path("out.parquet"))
    assert options.ray is options.workers is options.threads is options.text_column is None
    assert (options.scores, options.prefix) == (False, "")


def test_ray_takes_an_address_or_none() -> None:
    assert parsed("demo-text", "in.csv", "out.parquet", "--ray").ray == "local"
    assert parsed("demo-text", "in.csv", "out.parquet", "--ray", "ray://head:10001").ray == "ray://head:10001"


def test_there_is_at_least_one_thread(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parsed("demo-text", "in.csv", "out.parquet", "--threads", "0")
    assert "argument --threads: must be at least 1" in capsys.readouterr().err
