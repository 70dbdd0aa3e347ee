"""docs/oip.md: its commands get the answers that are shown, and its tables have every tensor, parameter and address."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pages import EXAMPLE, OIP, run
from serving.model.head import Sigmoid
from serving.oip.asking import PARAMETERS
from serving.oip.models import inputs_of, outputs_of
from serving.oip.openapi import oip_document
from serving.oip.rpc import CODES
from serving.protobuf import POOL, SERVICE
from tests.commands import needs_curl
from tests.docs.reading import blocks, read, table
from tests.docs.test_api import folder as folder  # a fixture
from tests.docs.test_api import shape
from tests.server import Server
from tests.serving.oip.models import model, models

TEXT = read("docs/oip.md")


def names(head: str) -> set[str]:
    return {name for row in table(TEXT, head) for name in re.findall(r"`(\w+)`", row[0])}


def test_its_tables_have_every_tensor_and_parameter() -> None:
    kinds = [model(), model(pairs=True), model("image"), model(screen_head=Sigmoid((0.0, 0.0)))]
    assert names("| input | datatype, shape | is |") == {each["name"] for kind in kinds for each in inputs_of(kind)}
    assert names("| output | datatype, shape | is |") == {each["name"] for kind in kinds for each in outputs_of(kind)}
    assert names("| parameter | does |") == PARAMETERS


def test_its_tables_have_every_address_and_status() -> None:
    paths = oip_document(models(text=model()))["paths"]
    rest = " ".join(row[1] for row in table(TEXT, HEAD))
    said = {f"/{each}".replace("NAME", "{name}") for each in re.findall(r"(?:GET|POST) /([\w/]+)", rest)}
    assert said == {path for path in paths if "versions" not in path}
    calls = {name for row in table(TEXT, HEAD) for name in re.findall(r"`(\w+)`", row[2])}
    assert calls == {method.name for method in POOL.FindServiceByName(SERVICE).methods}
    assert {
        name for row in table(TEXT, "| code | where REST has |") for name in re.findall(r"`([A-Z_]+)`", row[0])
    } >= {code.name for code in CODES.values()}
    statuses = {row[0] for row in table(TEXT, "| status | means |")}
    documented = {status for methods in paths.values() for each in methods.values() for status in each["responses"]}
    assert statuses == documented - {"200"} | {"405"}


HEAD = "| of the protocol | REST | gRPC | remark |"


@needs_curl
def test_its_curl_lines_get_answers_of_the_shape_it_shows(server: Server, folder: Path) -> None:
    pairs = EXAMPLE.findall(OIP.read_text(encoding="utf-8"))
    assert len(pairs) == 3
    for line, answer in pairs:
        got, shown = json.loads(run(line.replace("http://localhost:3000", server.url), folder)), json.loads(answer)
        assert shape(got) == shape(shown)
        if "error" in shown:
            assert got == shown


@pytest.mark.parametrize("place", range(len(blocks(TEXT, "python"))))
def test_its_programs_run(
    server: Server, folder: Path, place: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = blocks(TEXT, "python")[place].replace("localhost:3000", server.url.removeprefix("http://"))
    program = program.replace("localhost:8001", server.grpc).replace("client_timeout=0.1", "client_timeout=10")
    monkeypatch.chdir(folder)
    given: dict[str, Any] = {}
    exec(compile(program, "docs/oip.md", "exec"), given)
    assert capsys.readouterr().out.startswith("[b'")
