"""docs/cascades.md: its arguments are taken, its answers have the shape that is shown, its times are the code's."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from serving.arguments import Arguments, with_variables
from serving.cascade import switching
from serving.cascade.served import Served
from serving.errors import NotServedError
from serving.http import expert_models
from serving.http.admin import ADDRESS, KEY, admin_document
from serving.http.openapi import openapi
from tests.docs.reading import blocks, read, table
from tests.serving.cascade.test_switching import Process
from tests.serving.http.test_api import modality

TEXT = read("docs/cascades.md")


def given(line: str) -> Mapping[str, str]:
    """The arguments of a line of bentoml serve."""
    words = shlex.split(line)
    stated = (words[place + 1] for place, word in enumerate(words) if word == "--arg")
    return dict(part.partition("=")[::2] for part in stated)


def test_its_arguments_are_taken() -> None:
    served, urls = re.findall(r"--arg text[\w=,:/. -]*", TEXT)[:2]
    lines = [line for block in blocks(TEXT, "sh") for line in block.splitlines() if "bentoml serve" in line]
    assert len(lines) == 2
    for line in lines:
        arguments = with_variables(Arguments(**given(line)), {})  # type: ignore[arg-type]
        assert [chosen.name for chosen in arguments.served][:2] == ["demo-text", "sms-risk"]
    several = Arguments(**{**given(f"x {served}"), **given(f"x {urls}")})  # type: ignore[arg-type]
    assert [bool(several.expert_url(chosen)) for chosen in several.served] == [True, True, False]


def test_an_unknown_name_is_refused_as_it_says() -> None:
    shown = json.loads(blocks(TEXT, "json")[0])
    served = Served([modality(name=name) for name in ("demo-text", "sms-risk")])
    with pytest.raises(NotServedError) as caught:
        served.find("text", "x")
    assert shown["error"] == {"field": None, "message": str(caught.value)}


def test_a_switch_is_answered_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(switching, "RETIRE_S", 0.0)
    shown: dict[str, Any] = json.loads(blocks(TEXT, "json")[1])
    said = asyncio.run(Process().switching.switch("a", "2"))
    assert {**said, "request_id": ""}.keys() == shown.keys()
    assert all(type(said[key]) is type(shown[key]) for key in said)
    assert said["models"].keys() == shown["models"].keys()  # type: ignore[attr-defined]


def test_it_explains_every_refusal_of_the_address() -> None:
    documented = openapi(beside=admin_document(["a"]))["paths"][ADDRESS]["post"]["responses"]
    rows = {row[0] for row in table(TEXT, "| status | means |")}
    assert rows == set(documented) - {"200", "400", "422"}, "the others are those of all addresses"


def test_its_times_are_those_of_the_code() -> None:
    assert switching.LOOK_EVERY_S == 1 / 4
    assert switching.FOLLOW_LIMIT_S == expert_models.UNUSED_S == 60
    assert f"more than {switching.WARM_UP_CALL_MS:g} ms" in TEXT
    least, most = re.findall(r"\d+", KEY.pattern.rpartition("{")[2])
    assert f"has {least} to {most} visible" in TEXT
