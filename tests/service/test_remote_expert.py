"""From the checkout: an expert served alone, and an API that is told its URL and starts none of its own."""

from __future__ import annotations

from pathlib import Path

import httpx
import psutil

from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, in_full, serve
from tests.service.test_degraded import TEXT_ONLY, with_point


def test_an_api_asks_the_expert_at_its_url(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    expert_home = with_point(tiny_cascades, tmp_path / "expert")
    api_home = with_point(tiny_cascades, tmp_path / "api", threshold=1.1)
    with (
        serve("service:TextExpert", *TEXT_ONLY, home=expert_home, folder=ROOT, log=tmp_path / "expert.log") as expert,
        serve(
            *TEXT_ONLY, "--arg", f"text_expert_url={expert.url}", home=api_home, folder=ROOT, log=tmp_path / "api.log"
        ) as api,
    ):
        children = psutil.Process(api.process.pid).children(recursive=True)
        assert not any("TextExpert" in " ".join(child.cmdline()) for child in children)
        sent = {"text": "where is my refund", "budget_ms": PATIENT_MS}
        with api.client() as client:
            answer = in_full(client, "/classify_text", json=sent).json()
        assert (answer["stage"], answer["degraded"]) == ("expert", None)
        (described,) = httpx.get(f"{api.url}/models").json().keys() - {"request_id"}
        said = httpx.get(f"{api.url}/models").json()[described]["expert"]
        assert said["execution_provider"]["got"] == "CPUExecutionProvider"
        assert httpx.get(f"{expert.url}/model").headers["etag"] == f'"{said["digest"]}"'
