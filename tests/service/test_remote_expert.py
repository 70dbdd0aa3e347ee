"""From the checkout: an expert served alone, and an API that is told its URL and starts none of its own."""

from __future__ import annotations

import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest
import tritonclient.grpc as triton

from loadtest.traffic.process import free_port, stop
from tests.certificates import authority
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


def test_over_tls_an_expert_asks_who_the_api_is(
    tiny_cascades: TinyCascades, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The expert demands a certificate, the API shows one, and its own clients speak TLS over HTTP and gRPC."""
    home = with_point(tiny_cascades, tmp_path / "home", threshold=1.1)
    ours, grpc_port = authority(tmp_path), free_port()
    server, client = ours.sign("server", "DNS:localhost,IP:127.0.0.1"), ours.sign("client", "DNS:api")
    shows = ("--ssl-certfile", str(server.file), "--ssl-keyfile", str(server.key))
    demands = ("--ssl-ca-certs", str(ours.file), "--ssl-cert-reqs", str(int(ssl.CERT_REQUIRED)))
    for name, file in {"CA": ours.file, "CERT": client.file, "KEY": client.key}.items():
        monkeypatch.setenv(f"SIEVE_EXPERT_{name}", str(file))
    stranger, known = ssl.create_default_context(cafile=ours.file), ssl.create_default_context(cafile=ours.file)
    known.load_cert_chain(client.file, client.key)
    with over_tls("service:TextExpert", *TEXT_ONLY, *shows, *demands, home=home, known=known) as expert:
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{expert}/model", verify=stranger)
        monkeypatch.setenv("SIEVE_TEXT_EXPERT_URL", expert)
        given = (*TEXT_ONLY, "--arg", f"grpc_port={grpc_port}")
        with over_tls(*given, *shows, home=home, known=stranger) as api:
            sent = {"text": "where is my refund", "budget_ms": PATIENT_MS}
            with httpx.Client(base_url=api, verify=stranger, timeout=60) as asking:
                answer = in_full(asking, "/classify_text", json=sent).json()
            assert (answer["stage"], answer["degraded"]) == ("expert", None)
            with pytest.raises(httpx.TransportError):
                httpx.get(api.replace("https", "http") + "/readyz")
            with triton.InferenceServerClient(
                f"localhost:{grpc_port}", ssl=True, root_certificates=str(ours.file)
            ) as calling:
                assert calling.is_server_ready()


@contextmanager
def over_tls(*arguments: str, home: Path, known: ssl.SSLContext) -> Iterator[str]:
    """The URL of a server over TLS, once it is ready for a client with the certificates `known`."""
    port = free_port()
    line, variables = command("serve", *arguments, "--host", "127.0.0.1", "--port", str(port), home=home)
    with (home / f"{port}.log").open("wb") as log:
        server = subprocess.Popen(
            line, cwd=ROOT, env={**variables, "SIEVE_WORKERS": "1"}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        url = f"https://localhost:{port}"
        wait_until_ready(url, known)
        yield url
    finally:
        stop(server)


def wait_until_ready(url: str, known: ssl.SSLContext) -> None:
    end_s = time.monotonic() + LIMIT_S
    while True:
        try:
            if httpx.get(f"{url}/readyz", verify=known).status_code == 200:
                return
        except httpx.TransportError:
            assert time.monotonic() < end_s
        time.sleep(0.2)
