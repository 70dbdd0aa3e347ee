"""Audits that a broker takes to a worker: the real server, nats-server and worker, killed and started again."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from loadtest.traffic.process import free_port, stop
from serving.audit.auditor import TELL_EVERY_S
from serving.audit.broker import WORK, Broker
from serving.model.artifact import MANIFEST
from tests.broker import Nats, with_broker
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, PATIENT_MS, Server, pauses, serve, variables
from tests.service.test_audit import TEXTS, ask, audit, counted, served
from tests.service.test_degraded import with_point


@contextmanager
def worker(home: Path, url: str, log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    line = [sys.executable, "-m", "serving.audit_worker", *(arguments or ("--model", "tiny-text-expert"))]
    with log.open("ab") as output:
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            env={**os.environ, **variables(home), "SIEVE_AUDIT_URL": url},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        stop(process)


def settings_of(url: str) -> str:
    return f'workers = 2\naudit_share = 1.0\naudit_url = "{url}"\n'


def acknowledged(nats: Nats) -> int:
    """How many items the stream has ever taken."""
    found: list[int] = []

    async def look(broker: Broker) -> None:
        assert broker._js is not None
        found.append((await broker._js.stream_info(WORK.name)).state.last_seq)

    with_broker(nats.url, look)
    return found[0]


def all_audited(server: Server, nats: Nats) -> dict[str, Any]:
    """What /models says of the audit once all that the stream has ever taken has been audited, each item once."""
    end_s, pause = time.monotonic() + LIMIT_S, pauses()
    while True:
        said: dict[str, Any] = httpx.get(f"{server.url}/models").json()["text"]["audit"]
        if said["audited"] == acknowledged(nats):
            return said
        assert time.monotonic() < end_s, said
        time.sleep(next(pause))


def test_a_worker_elsewhere_audits_and_a_restart_of_the_service_loses_no_report(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    home = with_point(tiny_cascades, tmp_path, threshold=0.0)
    with Nats(tmp_path / "nats") as nats:
        with served(tmp_path, home, settings_of(nats.url)) as server:
            ask(server, TEXTS[:10])
            audit(server, {"audited": 0, "broker": "connected"})  # nobody works yet, and it waits
            with worker(home, nats.url, tmp_path / "worker.log"):
                audit(server, {"audited": 10, "dropped": 0})
                calls = counted(server, "sieve_expert_items_total")
                ask(server, TEXTS[10:20])
                audit(server, {"audited": 20, "dropped": 0})
                assert counted(server, "sieve_expert_items_total") == calls, "the service's own expert is not asked"
            assert "{'answered': 20}" in (tmp_path / "worker.log").read_text()
            ask(server, TEXTS[20:25])
            end_s = time.monotonic() + LIMIT_S
            while acknowledged(nats) < 25:
                assert time.monotonic() < end_s
        with worker(home, nats.url, tmp_path / "worker.log"), served(tmp_path, home, settings_of(nats.url)) as server:
            audit(server, {"audited": 25, "dropped": 0})


def test_nats_killed_and_started_again_under_load_loses_nothing_and_harms_no_answer(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    home = with_point(tiny_cascades, tmp_path, threshold=0.0)
    asked = 0
    with (
        Nats(tmp_path / "nats") as nats,
        served(tmp_path, home, settings_of(nats.url)) as server,
        worker(home, nats.url, tmp_path / "worker.log"),
        server.client() as client,
    ):
        for round_number in range(4):
            if round_number % 2:
                nats.kill()
            end_s = time.monotonic() + 2.0
            while time.monotonic() < end_s:
                reply = client.post("/classify_text", json={"text": TEXTS[asked % 40], "budget_ms": PATIENT_MS})
                assert (reply.status_code, reply.json()["degraded"]) == (200, None)
                asked += 1
                time.sleep(0.02)
            if round_number % 2:
                nats.start()
        said = all_audited(server, nats)
        assert said["audited"] > 0
        assert said["dropped"] > 0, "the line was full while nobody took what waited in it"
        assert counted(server, "sieve_audited_total") == said["audited"]
        time.sleep(2 * TELL_EVERY_S)
        assert all_audited(server, nats)["audited"] == said["audited"], "nothing is counted twice"


def test_a_service_starts_and_answers_without_its_broker(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = with_point(tiny_cascades, tmp_path, threshold=0.0)
    nats = Nats(tmp_path / "nats")
    with served(tmp_path, home, settings_of(nats.url)) as server:
        ask(server, TEXTS[:5])
        audit(server, {"audited": 0, "dropped": 0, "broker": "away"})
        assert counted(server, "sieve_audit_broker_away") == 1
        with nats, worker(home, nats.url, tmp_path / "worker.log"):
            audit(server, {"audited": 5, "dropped": 0, "broker": "connected"})


def test_a_worker_asks_an_expert_that_runs_elsewhere(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = with_point(tiny_cascades, tmp_path, threshold=0.0)
    only = ("--arg", "text=tiny-text", "--arg", "image=")
    with (
        Nats(tmp_path / "nats") as nats,
        served(tmp_path, home, settings_of(nats.url)) as server,
        serve("service:TextExpert", *only, home=home, folder=ROOT, log=tmp_path / "expert.log") as expert,
    ):
        port = free_port()
        more = ("--expert-url", expert.url, "--metrics-port", str(port))
        with worker(home, nats.url, tmp_path / "worker.log", *more):
            ask(server, TEXTS[:4])
            audit(server, {"audited": 4})
            assert 'outcome="answered"} 4.0' in httpx.get(f"http://127.0.0.1:{port}/metrics").text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--url", "http://a"), "--url must be"),
        (("--url", ""), "--url must name the broker"),
        (("--device", "cuda"), "--device must be auto, cpu, gpu"),
        (("--threads", "0"), "--threads must be"),
        (("--metrics-port", "65536"), "--metrics-port must be"),
        (("--model", "nobody"), "nobody:latest is not in the model store"),
        (("--store", "/nowhere"), "must hold an expert"),
        (("--expert-url", "ftp://a"), "--expert-url must be"),
        (("--expert-url", "http://127.0.0.1:9"), "must say what it runs"),
    ],
)
def test_a_worker_that_cannot_work_says_why(
    tiny_cascades: TinyCascades, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    with worker(tiny_cascades.home, "nats://127.0.0.1:9", tmp_path / "log", *arguments) as process:
        assert process.wait(LIMIT_S) == 1
    (line,) = (tmp_path / "log").read_text().splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_a_worker_refuses_an_expert_that_does_not_compute_what_was_certified(
    tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    from tests.artifacts import change_weight
    from tests.service.test_audit import expert_of

    home = with_point(tiny_cascades, tmp_path)
    folder, variant = expert_of(home)
    assert (folder / MANIFEST).is_file()
    change_weight(folder, variant)
    with worker(home, "nats://127.0.0.1:9", tmp_path / "log") as process:
        assert process.wait(LIMIT_S) == 1
    assert "error: " in (tmp_path / "log").read_text()
