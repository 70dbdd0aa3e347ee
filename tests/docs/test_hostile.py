"""docs/hostile.md: its limits are those of the code, its suites those that run, its options BentoML's."""

from __future__ import annotations

import re

import orjson
import pytest
from bentoml_cli.serve import serve_command

from serving.http.heads import HEAD_LIMIT_S, MAX_HEAD_BYTES, MAX_HEADERS
from serving.http.intake import ARRIVING_AT_ONCE, READ_LIMIT_S
from serving.http.keep_alive import KEEP_ALIVE_S
from tests.docs.reading import read
from tests.hostile.test_fuzz import CASES

TEXT = read("docs/hostile.md")


def test_the_limits_are_those_of_the_code() -> None:
    rows = dict(re.findall(r"^\| (.*?) \| (.*?) \|", TEXT, flags=re.MULTILINE))
    assert rows["the head of a request"] == f"{MAX_HEADERS} headers, {MAX_HEAD_BYTES:,} bytes"
    assert rows["the time for a head"] == f"{HEAD_LIMIT_S:.0f} seconds from its first byte"
    assert rows["the time for a body"] == f"{READ_LIMIT_S:.0f} seconds"
    assert rows["bodies that arrive at once"] == f"{ARRIVING_AT_ONCE} for each API process"
    assert rows["a connection on which nothing comes"] == f"{KEEP_ALIVE_S} seconds"
    assert f"The service keeps them for {KEEP_ALIVE_S} seconds" in TEXT
    assert f"Idle connections are kept for {KEEP_ALIVE_S} seconds" in read("docs/container.md")
    assert f"more than {MAX_HEADERS} headers or {MAX_HEAD_BYTES:,} bytes" in read("docs/api.md")


def test_the_suites_are_those_that_run() -> None:
    _, _, table = TEXT.partition("| suite |")
    named = set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (`.*?) \|", table, flags=re.MULTILINE))))
    assert named == {*CASES, "schemathesis", "keep-alive"}


def test_bentoml_takes_the_option() -> None:
    serve = serve_command.commands["serve"]
    assert any("--timeout-keep-alive" in each.opts for each in serve.params)
    assert TEXT.count("--timeout-keep-alive 620") == 2


def test_json_may_be_as_deep_as_it_says() -> None:
    assert "JSON may be 1,024 levels deep" in TEXT
    orjson.loads("[" * 1024 + "]" * 1024)
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads("[" * 1025 + "]" * 1025)
