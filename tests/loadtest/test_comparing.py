"""The options of `compare`."""

from __future__ import annotations

import argparse
from pathlib import Path

from loadtest.comparing import PEERS, add_compare


def read(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_compare(parser.add_subparsers())
    return parser.parse_args(["compare", *arguments])


def test_peers_stand_where_make_peers_writes_them() -> None:
    assert read("--peers").peers == PEERS
    assert read("--peers", "mine.toml").peers == Path("mine.toml")
    assert read("contenders.toml").peers is None


def test_the_search_can_be_left_out() -> None:
    assert (read("--peers").no_search, read("--peers", "--no-search").no_search) == (False, True)
    assert read("--peers").seconds == 4
