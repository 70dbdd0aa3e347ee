"""The commands of the servers, and the memory of their processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.servers import PYTHON, bare_line, baseline_variables, fastapi_line, litserve_line, rss_bytes, serve_line
from loadtest.traffic.process import Running


def test_every_line_takes_its_port() -> None:
    assert serve_line("text=a", "image=")[:4] == (PYTHON, "-m", "bentoml", "serve")
    assert serve_line("text=a", "image=")[-4:] == ("--arg", "text=a", "--arg", "image=")
    assert serve_line(service="module:Service")[4] == "module:Service"
    for line in (serve_line(), fastapi_line(), bare_line(), litserve_line()):
        assert line.count("{port}") == 1


def test_a_baseline_is_json_in_one_variable() -> None:
    said = baseline_variables({"kind": "text", "runtime": "onnx", "model": "a.onnx", "labels": ("ham", "spam")})
    assert json.loads(said["BASELINE"])["labels"] == ["ham", "spam"]


def test_memory_is_that_of_the_child_with_the_name(tmp_path: Path) -> None:
    child = "import sys, time; print(flush=True); data = bytearray(30_000_000); time.sleep(60)"
    script = tmp_path / "server.py"
    script.write_text(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}, '--service-name', 'sieve'])\n"
        "child.wait()\n"
    )
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert rss_bytes(Running("", process), "--service-name sieve") > 1_000_000
        subprocess.run(["kill", "--", f"-{process.pid}"], check=True)
