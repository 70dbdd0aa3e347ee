"""A served cascade notices that its traffic is no longer what its operating point was chosen on."""

from __future__ import annotations

import re
from pathlib import Path

import httpx

from tests.conftest import ROOT, TinyCascades, messages
from tests.server import serve
from tests.service.test_degraded import TEXT_ONLY, with_point


def gauge(client: httpx.Client, name: str) -> float:
    (value,) = re.findall(
        rf'^sieve_drift_{name}{{.*modality="text".*}} (\S+)$', client.get("/metrics").text, re.MULTILINE
    )
    return float(value)


def test_shifted_traffic_raises_the_flag_and_the_metric(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    band = {
        "window": 200,
        "min_n": 100,
        "max_psi": 0.5,
        "lowest_escalation_share": 0.0,
        "highest_escalation_share": 1.0,
    }
    home = with_point(tiny_cascades, tmp_path / "home", band=band)
    usual = [text for text, _ in messages(900, seed=5)][:192]
    # One confidence for all, whatever the model makes of it.
    strange = ["lorem ipsum dolor sit amet"] * 256
    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as server, server.client() as client:

        def send(texts: list[str]) -> None:
            for start in range(0, len(texts), 64):
                reply = client.post("/classify_texts", json={"texts": texts[start : start + 64], "budget_ms": 1000})
                assert reply.status_code == 200

        assert client.get("/models").json()["text"]["drift"]["drifted"] is None
        send(usual)
        drift = client.get("/models").json()["text"]["drift"]
        assert drift["drifted"] is False, drift
        assert gauge(client, "flag") == 0

        send(strange)
        drift = client.get("/models").json()["text"]["drift"]
        assert drift["drifted"] is True, drift
        assert "confidences have shifted" in drift["reasons"][0]
        assert gauge(client, "flag") == 1
        assert gauge(client, "psi") > 0.5
        assert 0 <= gauge(client, "escalation_share") <= 1
