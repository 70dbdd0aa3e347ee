"""docs/api.md and README.md: every curl line gets an answer of the shape that is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages import API, EXAMPLE, README, run
from serving.http.openapi import openapi
from tests.commands import needs_curl
from tests.docs.reading import commands, read, table
from tests.server import Server
from tests.service.test_api import digit

TEXT = read("docs/api.md")


def test_it_lists_every_address() -> None:
    listed = set(re.findall(r"`(?:GET|POST) (/[\w.]+)`", TEXT))
    assert {*openapi()["paths"], "/metrics", "/docs.json", "/readyz", "/livez"} == listed


def test_every_endpoint_has_a_curl_line_with_its_answer() -> None:
    shown = [curl for curl, _ in EXAMPLE.findall(TEXT)]
    for endpoint in ("classify_text ", "classify_texts ", "classify_image ", "models"):
        assert any(f"localhost:3000/{endpoint}" in line for line in shown), endpoint


def test_it_explains_every_field_of_an_answer() -> None:
    fields = {name for row in table(TEXT, "| field | means |") for name in re.findall(r"`(\w+)`", row[0])}
    (_, answer), *_ = EXAMPLE.findall(TEXT)
    assert fields == json.loads(answer).keys()


def shape(value: Any, depth: int = 3) -> Any:
    """Keys and types, without what differs from model to model."""
    if isinstance(value, dict) and depth:
        free = {"scores", "quality", "timings_ms", "drift"}
        return {key: "..." if key in free else shape(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item, depth) for item in value[:2]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the lines run: the image that they send lies in it."""
    (tmp_path / "build" / "demo").mkdir(parents=True)
    (tmp_path / "build" / "demo" / "digits-0.png").write_bytes(digit(1))
    return tmp_path


@needs_curl
def test_its_curl_lines_get_answers_of_the_shape_it_shows(server: Server, folder: Path) -> None:
    pairs = [pair for page in (README, API) for pair in EXAMPLE.findall(page.read_text(encoding="utf-8"))]
    assert len(pairs) == 6
    for line, answer in pairs:
        got = json.loads(run(line.replace("http://localhost:3000", server.url), folder))
        # An answer may be degraded (a string) or not (null), whatever the page's was.
        said, shown = (re.sub("'str'|'NoneType'", "x", str(shape(value))) for value in (got, json.loads(answer)))
        assert said == shown


@needs_curl
def test_the_other_ways_to_send_an_image_work(server: Server, folder: Path) -> None:
    others = [line for line in commands(TEXT) if "budget_ms=50" in line]
    assert len(others) == 2
    for line in others:
        got = json.loads(run(line.replace("http://localhost:3000", server.url), folder))
        assert got["stage"] in ("screen", "expert")


@needs_curl
def test_a_refusal_says_what_it_shows(server: Server, folder: Path) -> None:
    ((line, answer),) = [pair for pair in EXAMPLE.findall(TEXT) if '"error"' in pair[1] and "answers" not in pair[1]]
    got = json.loads(run(line.replace("http://localhost:3000", server.url), folder))
    assert got["error"] == json.loads(answer)["error"]
