"""The service of `make audit-cost`, served: a signal ends its audits, its memory for feedback, and its shadow."""

from __future__ import annotations

import time
from pathlib import Path

import httpx

from benchmarks.audit_cost import total
from benchmarks.homes import NEVER, add_copy, make_home
from benchmarks.servers import TOGGLE, child, page, sieve
from loadtest.traffic.process import Running
from tests.conftest import TinyCascades
from tests.server import LIMIT_S, PATIENT_MS


def looked_at(server: Running) -> tuple[float, float]:
    """Trusted items of the audit, and ended ones of the shadow, until now."""
    metrics = page(server.url)
    found = [total(metrics, name) for name in ("audit_trusted_total{.*}", "shadow_items_total{.*}")]
    return found[0], found[1]


def ask(server: Running, requests: int) -> None:
    for _ in range(requests):
        body = {"text": "where is my refund", "budget_ms": PATIENT_MS}
        assert httpx.post(f"{server.url}/classify_text", json=body).status_code == 200


def settled(server: Running) -> tuple[float, float]:
    """The same once it no longer changes: it is told every second, and every other one."""
    end_s, found, since_s = time.monotonic() + LIMIT_S, looked_at(server), time.monotonic()
    while time.monotonic() - since_s < 5.0:
        assert time.monotonic() < end_s
        time.sleep(0.2)
        if (now := looked_at(server)) != found:
            found, since_s = now, time.monotonic()
    return found


def test_a_signal_ends_what_watches_and_begins_it_again(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", tiny_cascades.home / "models", "tiny-text", threshold=NEVER)
    add_copy(home, "tiny-text", "copy-of-it")
    settings = tmp_path / "settings.toml"
    settings.write_text("workers = 1\naudit_share = 1.0\nshadow_share = 1.0\nfeedback_memory = 100\n")
    service = "benchmarks.watched:Cascade"
    with sieve(home, "tiny-text", settings=settings, shadow="copy-of-it", service=service) as server:
        end_s = time.monotonic() + LIMIT_S
        while looked_at(server)[1] == 0:  # the shadow's expert warms up
            assert time.monotonic() < end_s
            ask(server, 1)
            time.sleep(0.5)
        before = settled(server)
        child(server, "--service-name sieve").send_signal(TOGGLE)
        ask(server, 5)
        assert settled(server) == before
        child(server, "--service-name sieve").send_signal(TOGGLE)
        ask(server, 5)
        assert settled(server) == (before[0] + 5, before[1] + 5)
