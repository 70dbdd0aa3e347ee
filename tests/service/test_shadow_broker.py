"""A shadow whose experts a worker elsewhere runs: real server, nats-server and worker, the broker killed under load."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.broker import Nats
from tests.conftest import ROOT, TinyCascades, messages
from tests.server import LIMIT_S, PATIENT_MS, in_full, serve
from tests.service.test_audit_broker import worker
from tests.service.test_shadow import TEXT, asked_until, shadow_of, store
from tests.stores import publish

NEXT = "tiny-text-next"


def test_a_worker_has_the_experts_of_a_shadow_and_an_outage_of_the_broker_harms_nobody(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    home = store(tiny_cascades, tmp_path)
    publish(home / "models", NEXT, "v1", of="tiny-text", threshold=1.1)
    texts = [text for text, _ in messages(20, seed=3)]
    with Nats(tmp_path / "nats") as nats:
        with (tmp_path / "settings.toml").open("a") as settings:
            settings.write(f'audit_url = "{nats.url}"\n')
        more = ("--arg", f"shadow_text={NEXT}", "--arg", f"settings={tmp_path / 'settings.toml'}")
        both = ("--model", f"{NEXT}-expert", "--model", "tiny-text-expert")
        with (
            serve(*TEXT, *more, home=home, folder=ROOT, log=tmp_path / "log") as server,
            worker(home, nats.url, tmp_path / "worker.log", *both),
        ):
            with pytest.raises(ValueError, match="not enough values"):  # no process here runs the shadow's expert
                server.worker("TextExpert2")
            said = asked_until(server, lambda shadow: shadow["verdict"] == "no worse", NEXT)
            assert (said["broker"], said["escalation_shadow"]) == ("connected", 1)
            assert said["outcomes"]["worse"] == said["outcomes"]["failed"] == 0
            nats.kill()
            before, end_s = shadow_of(server, NEXT)["outcomes"]["dropped"], time.monotonic() + LIMIT_S
            with server.client() as client:
                while shadow_of(server, NEXT)["outcomes"]["dropped"] <= before:
                    assert time.monotonic() < end_s
                    for text in texts:
                        reply = in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS})
                        assert reply.status_code == 200
            while shadow_of(server, NEXT)["broker"] != "away":
                assert time.monotonic() < end_s
                time.sleep(0.1)
            before = shadow_of(server, NEXT)["items"]
            nats.start()
            said = asked_until(server, lambda shadow: shadow["items"] > before + 20, NEXT)
            assert said["outcomes"]["worse"] == said["outcomes"]["failed"] == 0
