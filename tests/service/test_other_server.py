"""From the checkout: an API whose experts run on other servers of the protocol, one over HTTP, the other over gRPC."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from loadtest.traffic.process import free_port
from serving.expert.graph_form import version_of
from tests.conftest import ROOT
from tests.optimize.score.tiny_models import tiny_cascade
from tests.server import PATIENT_MS, in_full, serve
from tests.service.other_servers import cut_off_and_back, elsewhere, put_into_store, require_same_answers
from tests.service.test_api import digit
from tests.serving.expert.protocol_server import MODEL, OtherModel


def test_an_api_asks_other_servers_and_does_without_them(tmp_path: Path) -> None:
    home, ports = tmp_path / "home", {"text": free_port(), "image": free_port()}
    cascades = {kind: tiny_cascade(tmp_path / kind, kind) for kind in ("text", "image")}
    for kind in cascades:
        put_into_store(home, f"tiny-{kind}", tmp_path / kind)
    models = {kind: OtherModel(cascade.expert.artifact) for kind, cascade in cascades.items()}
    urls = {
        "text": f"oip+http://127.0.0.1:{ports['text']}/{MODEL}",
        "image": f"oip+grpc://127.0.0.1:{ports['image']}/{MODEL}",
    }
    names = [f"{kind}=tiny-{kind}" for kind in cascades] + [f"{kind}_expert_url={url}" for kind, url in urls.items()]
    arguments = [word for name in names for word in ("--arg", name)]
    with ExitStack() as running, ExitStack() as texts:
        running.enter_context(elsewhere(models["image"], "grpc", ports["image"]))
        texts.enter_context(elsewhere(models["text"], "http", ports["text"]))
        log = tmp_path / "log"
        api = running.enter_context(serve(*arguments, home=home, folder=ROOT, log=log))
        with api.client() as client:
            require_same_answers(client, cascades["text"])
            png = {"files": {"image": digit(0)}, "data": {"budget_ms": str(PATIENT_MS)}}
            in_full(client, "/classify_image", **png)
            assert models["image"].ran, "warmed up, over gRPC"
            said = client.get("/models").json()
            for kind, cascade in cascades.items():
                runs = said[kind]["expert"]["execution_provider"]
                assert runs["version"] == version_of(cascade.expert.artifact.digest, "cpu-fp32")
                assert (runs["variant"], runs["got"]) == ("cpu-fp32", "a-runtime")
                digest = cascade.expert.artifact.digest
                info = rf'sieve_model_info{{.*digest="{digest}",.*modality="{kind}",.*role="expert".*}} 1'
                assert re.search(info, client.get("/metrics").text)
        cut_off_and_back(
            api.url, texts.close, lambda: texts.enter_context(elsewhere(models["text"], "http", ports["text"]))
        )
        texts.close()
        assert "answers again" in log.read_text()
