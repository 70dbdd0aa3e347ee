"""The time limit of a command."""

from __future__ import annotations

import math
import time

import pytest

from loadtest.errors import LimitError
from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.limit import TimeLimit
from tests.loadtest.little_server import little_server, ok
from tests.loadtest.traffic.test_credentials import SAMPLE


def test_without_seconds_there_is_no_limit() -> None:
    assert TimeLimit().left_s() == math.inf
    TimeLimit().require(1e9, "wait")


def test_what_takes_longer_than_is_left_is_refused() -> None:
    limit = TimeLimit(100.0, began_s=time.monotonic() - 40)
    assert 0 < limit.left_s() <= 60
    with pytest.raises(LimitError, match=r"--limit: must leave time to warm up, got 100 s, of which \d+.\d were left"):
        limit.require(61, "warm up")
    over = TimeLimit(1.0, began_s=time.monotonic() - 2)
    assert over.left_s() == 0
    with pytest.raises(LimitError):
        over.require(0, "go on")


def test_requests_one_by_one_end_with_it() -> None:
    asked: list[bytes] = []
    with little_server(lambda body: asked.append(body) or ok()) as url, pytest.raises(LimitError, match="get to know"):
        ask_one_by_one(url, [SAMPLE] * 5, limit=TimeLimit(1.0, began_s=time.monotonic() - 2))
    assert not asked
