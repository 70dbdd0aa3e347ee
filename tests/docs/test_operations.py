"""docs/operations.md: its metrics and files exist, and its commands are run where they can be."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import httpx

from tests.commands import needs_curl
from tests.conftest import ROOT, TinyCascades
from tests.server import Server

GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) for line in block.splitlines()]
# Each has a test of its own, or needs an engine that is not here.
ELSEWHERE = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",  # tests/service/test_tracing.py
    "python -m optimize run",  # tests/examples/test_own_bert.py
    "bentoml serve sieve:latest",  # tests/service/test_bento.py
    "make image",  # tests/container
    "docker compose",
)


@needs_curl
def test_its_commands_run(tiny_cascades: TinyCascades, server: Server, tmp_path: Path) -> None:
    shutil.copytree(tiny_cascades.home / "models", tmp_path / "home" / "models", symlinks=True)
    environment = {**os.environ, "BENTOML_HOME": str(tmp_path / "home"), "BENTOML_DO_NOT_TRACK": "True"}
    run = {}
    for command in COMMANDS:
        if command.startswith(ELSEWHERE):
            continue
        line = (
            command.replace("my-cascade", "tiny-text")
            .replace("http://", "")
            .replace("localhost:3000", server.url.removeprefix("http://"))
        )
        program, *arguments = shlex.split(line)
        if program == "promtool" and shutil.which(program) is None:
            continue  # tests/deploy/test_prometheus.py says so
        whole = [sys.executable, "-m", "bentoml"] if program == "bentoml" else [program]
        done = subprocess.run(
            [*whole, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
        )
        assert done.returncode == 0, (command, done.stdout + done.stderr)
        run[command] = done.stdout
    assert {command.split()[0] for command in run} >= {"bentoml", "curl"}
    assert "tiny-text-screen:" in run["bentoml models list my-cascade-screen"]
    assert "tiny-text-operating-point:" in run["bentoml get sieve:latest"]
    assert "sieve:" in run["bentoml list sieve"]


def test_its_metrics_are_those_that_are_there(server: Server) -> None:
    with server.client() as client:
        client.post("/classify_text", json={"text": "where is my refund"})
        text = httpx.get(f"{server.url}/metrics").text
    there = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
    (table,) = re.findall(r"\| metric \| says \|\n(.*?)\n\n", GUIDE, flags=re.DOTALL)
    cells = [row.split("|")[1] for row in table.splitlines()]
    named = {
        f"sieve_drift{name}" if name.startswith("_") else name
        for cell in cells
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert {name.removesuffix("_total") for name in there} <= {n.removesuffix("_total") for n in named}
    others = {name.removesuffix("_total") for name in named} - {name.removesuffix("_total") for name in there}
    others = {name for name in others if not name.startswith("sieve_gpu_")}  # where an expert runs on one
    silent = {
        "sieve_audit_broker_away",
        "sieve_shed",
        "sieve_truncated",
        "sieve_equal",
        "sieve_feedback",
        "sieve_key_requests",
    }
    assert others <= silent, "nothing was refused, cut or told yet, and there is no broker"


def test_the_files_it_names_exist() -> None:
    named = set(re.findall(r"(?:deploy|docs|serving|tests)/[\w./-]*\w", GUIDE))
    assert named
    for name in named:
        assert (ROOT / name).exists(), name
