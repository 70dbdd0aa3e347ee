"""The service of `make audit-cost`, served: a signal ends its audits, its memory for feedback, and its shadow."""

from __future__ import annotations

import re
import time
from pathlib import Path

import httpx

from benchmarks.homes import NEVER, add_copy, make_home
from benchmarks.servers import TOGGLE, child, sieve
from loadtest.traffic.process import Running
from tests.conftest import TinyCascades
from tests.server import LIMIT_S, PATIENT_MS


def looked_at(server: Running, requests: int) -> tuple[float, float]:
    """Trusted items of the audit, and drawn ones of the shadow, after so many requests more."""
    for _ in range(requests):
        body = {"text": "where is my refund", "budget_ms": PATIENT_MS}
        assert httpx.post(f"{server.url}/classify_text", json=body).status_code == 200
    time.sleep(3.0)  # they are told every second, and every other one
    metrics = httpx.get(f"{server.url}/metrics").text
    found = [
        sum(map(float, re.findall(rf"^sieve_{name}_total{{.*}} (\S+)$", metrics, re.MULTILINE)))
        for name in ("audit_trusted", "shadow_items")
    ]
    return found[0], found[1]


def test_a_signal_ends_what_watches_and_begins_it_again(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = make_home(tmp_path / "home", tiny_cascades.home / "models", "tiny-text", threshold=NEVER)
    add_copy(home, "tiny-text", "copy-of-it")
    settings = tmp_path / "settings.toml"
    settings.write_text("workers = 1\naudit_share = 1.0\nshadow_share = 1.0\nfeedback_memory = 100\n")
    service = "benchmarks.watched:Cascade"
    with sieve(home, "tiny-text", settings=settings, shadow="copy-of-it", service=service) as server:
        end_s = time.monotonic() + LIMIT_S
        while looked_at(server, 5)[1] == 0:  # the shadow's expert warms up
            assert time.monotonic() < end_s
        before = looked_at(server, 0)
        child(server, "--service-name sieve").send_signal(TOGGLE)
        assert looked_at(server, 5) == before
        child(server, "--service-name sieve").send_signal(TOGGLE)
        assert looked_at(server, 5) == (before[0] + 5, before[1] + 5)
