"""Real servers: ready while an expert is away, and ended, with the cause in the log, when they cannot get ready."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from loadtest.traffic.process import free_port, stop
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, PATIENT_MS, command, in_full, serve
from tests.service.test_degraded import TEXT_ONLY, with_point

SENT = {"text": "where is my refund", "budget_ms": PATIENT_MS}
BROKEN_WARM_UP = """
from serving.cascade.modality import Modality

async def broken(self):
    raise ValueError("a length that no model has")

Modality.warm_up_expert = broken
"""
BROKEN_EXPERT = """
import sys

if "watch" in sys.orig_argv:
    from serving.http import expert_models

    def broken(*_):
        raise ValueError("a length that no model has")

    expert_models.check_golden = broken
"""


def test_an_api_whose_expert_is_stopped_or_killed_stays_ready(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    home = with_point(tiny_cascades, tmp_path / "home", threshold=1.1)
    with (
        serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as server,
        server.client() as client,
    ):
        in_full(client, "/classify_text", json=SENT)
        worker = server.worker("TextExpert")
        os.kill(worker, signal.SIGSTOP)
        # Its socket still takes connections, and nobody answers on them.
        assert [client.get(path).status_code for path in ("/readyz", "/livez")] == [200, 200]
        assert client.post("/classify_text", json=SENT).json()["degraded"] is not None
        assert client.head("/readyz").status_code == 200
        os.kill(worker, signal.SIGCONT)
        os.kill(worker, signal.SIGKILL)
        end_s, degraded = time.monotonic() + LIMIT_S, "down"
        while degraded is not None:
            assert time.monotonic() < end_s, "the expert comes back by itself"
            assert client.get("/readyz").status_code == 200
            reply = client.post("/classify_text", json=SENT)
            assert reply.status_code == 200
            degraded = reply.json()["degraded"]
            time.sleep(0.05)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (BROKEN_WARM_UP, "the process cannot get ready, and ends"),
        (BROKEN_EXPERT, "in serve_expert"),
    ],
    ids=["the warm-up of the experts", "the start of an expert"],
)
def test_a_failure_while_getting_ready_is_logged_and_ends_the_process(
    tiny_cascades: TinyCascades, tmp_path: Path, broken: str, says: str
) -> None:
    home = with_point(tiny_cascades, tmp_path / "home")
    # The process of an expert imports no service. It has what Python imports by itself in the process that it forks.
    (tmp_path / "sitecustomize.py").write_text(broken if "serving.http" in broken else "")
    (tmp_path / "broken.py").write_text(f"{broken}from service import *\n")
    port = free_port()
    line, environment = command("serve", "broken:Cascade", "--port", str(port), *TEXT_ONLY, home=home)
    # In an image BentoML does not start a process again that has ended, so all of it ends.
    environment |= {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]), "BENTOML_CONTAINERIZED": "true"}
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            line, cwd=tmp_path, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    try:
        assert process.wait(LIMIT_S) != 0
    finally:
        stop(process)
    said = log.read_text()
    assert says in said
    assert "a length that no model has" in said


def test_an_expert_alone_without_a_name_is_refused(tmp_path: Path) -> None:
    line, environment = command("serve", "service:TextExpert", "--port", "0", "--arg", "text=", home=tmp_path)
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "nothing to serve: an expert needs a name; give it with --arg text=NAME" in said
    assert "Traceback" not in said


def test_priority_can_be_tied_to_a_header_that_must_be_one(tmp_path: Path) -> None:
    line, environment = command("serve", "--port", "0", home=tmp_path)
    environment |= {"SIEVE_PRIORITY_HEADER": "s3cret"}
    done = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert "SIEVE_PRIORITY_HEADER: must be one header line" in said
    assert "s3cret" not in said
