"""From the checkout: an expert served alone, and an API that is told its URL and starts none of its own."""

from __future__ import annotations

import ssl
import subprocess
import time
from pathlib import Path

import httpx
import psutil
import pytest

from loadtest.traffic.process import free_port, stop
from tests.certificates import certificate
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, PATIENT_MS, command, in_full, serve
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


def test_an_api_asks_it_over_tls(tiny_cascades: TinyCascades, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, port = with_point(tiny_cascades, tmp_path / "home", threshold=1.1), free_port()
    cert, url = certificate(tmp_path, "DNS:localhost,IP:127.0.0.1"), f"https://localhost:{port}"
    files = ("--ssl-certfile", str(cert.file), "--ssl-keyfile", str(cert.key))
    line, variables = command(
        "serve", "service:TextExpert", *TEXT_ONLY, *files, "--host", "127.0.0.1", "--port", str(port), home=home
    )
    with (tmp_path / "expert.log").open("wb") as log:
        expert = subprocess.Popen(line, cwd=ROOT, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_until_ready(url, str(cert.file))
        monkeypatch.setenv("SIEVE_EXPERT_CA", str(cert.file))
        monkeypatch.setenv("SIEVE_TEXT_EXPERT_URL", url)
        with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as api, api.client() as client:
            sent = {"text": "where is my refund", "budget_ms": PATIENT_MS}
            answer = in_full(client, "/classify_text", json=sent).json()
            assert (answer["stage"], answer["degraded"]) == ("expert", None)
    finally:
        stop(expert)


def wait_until_ready(url: str, ca: str) -> None:
    end_s = time.monotonic() + LIMIT_S
    while True:
        try:
            if httpx.get(f"{url}/readyz", verify=ssl.create_default_context(cafile=ca)).status_code == 200:
                return
        except httpx.TransportError:
            assert time.monotonic() < end_s
        time.sleep(0.2)
