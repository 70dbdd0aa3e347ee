"""All checks of schemathesis over the service's own document: data that it calls valid, and data that it does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.conftest import Tally
from tests.server import Server

CONFIG = Path(__file__).with_name("schemathesis.toml")
HOOKS = Path(__file__).with_name("schemathesis_hooks.py")
# Of the long form.
LEAST = 4_000


@pytest.mark.parametrize(
    ("options", "least"),
    [
        # Addresses with a version are those of the model without.
        pytest.param(["--phases", "examples,coverage", "--exclude-path-regex", "versions"], 500, id="short"),
        pytest.param(["--max-examples", "250"], LEAST, id="long", marks=pytest.mark.hostile),
    ],
)
def test_nothing_contradicts_the_document(
    server: Server, tally: Tally, tmp_path: Path, options: list[str], least: int
) -> None:
    report = tmp_path / "report.json"
    line = [sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIG, "run", f"{server.url}/docs.json"]
    line += ["--checks", "all", "--mode", "all", *options]
    line += ["--report-json-path", report, "--generation-database", "none", "--no-color", "--request-timeout", "20"]
    variables = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS)}
    done = subprocess.run(line, cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=540, check=False)
    assert report.exists(), done.stdout + done.stderr
    said = json.loads(report.read_text())
    assert said["failures"] == said["errors"] == [], done.stdout[-20_000:]
    assert said["operations"]["tested"] == said["operations"]["selected"]
    assert said["test_cases"]["generated"] >= least
    tally.add("schemathesis", "conforms", said["test_cases"]["generated"])
