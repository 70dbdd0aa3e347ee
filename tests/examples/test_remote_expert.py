"""examples/remote-expert: its two servers, started by its commands, give answers of both stages."""

from __future__ import annotations

from pathlib import Path

from tests.commands import ROOT, needs_curl
from tests.examples.following import ask, lines
from tests.server import PATIENT_MS, in_full, serve
from tests.service.test_api import TEXTS
from tests.tiny import TinyCascades


@needs_curl
def test_an_expert_on_another_port_answers_what_the_screen_escalates(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    expert_line, api_line = (
        [argument.replace("demo-text", "tiny-text") for argument in line]
        for line in lines("remote-expert", "bentoml serve")
    )
    *expert_line, option, port = expert_line
    assert (option, port) == ("--port", "3001")
    (curl,) = lines("remote-expert", "curl")
    with serve(*expert_line, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "expert.log") as expert:
        api_line = [argument.replace("http://localhost:3001", expert.url) for argument in api_line]
        assert f"text_expert_url={expert.url}" in api_line
        with serve(*api_line, home=tiny_cascades.home, folder=ROOT, log=tmp_path / "api.log") as api:
            assert ask(curl, api.url)["stage"] in ("screen", "expert")
            sent = {"texts": TEXTS[:32], "budget_ms": PATIENT_MS}
            with api.client() as client:
                answers = in_full(client, "/classify_texts", json=sent).json()["answers"]
            assert {answer["stage"] for answer in answers} == {"screen", "expert"}
            assert {answer["degraded"] for answer in answers} == {None}
