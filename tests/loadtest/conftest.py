"""`python -m loadtest` as a user runs it, and what it is given."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest import tune
from loadtest.measuring import contender
from loadtest.measuring.contender import Subject
from loadtest.traffic.client import ask_one_by_one
from loadtest.verdict.result import Result, result_of
from tests.conftest import ROOT, messages
from tests.loadtest.replies import reply
from tests.service.test_api import TEXTS, digit

SERVICE = Path(__file__).with_name("little_service.py")
COMMAND = f"{sys.executable} {SERVICE} {{port}}"


def loadtest(*arguments: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, to the exit status `check`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "loadtest", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def texts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("loadtest") / "texts.csv")


def write_texts(path: Path) -> Path:
    """Labelled texts of which a screen is sure, and others unlike those that it was trained on."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [(text, label) for text, label in messages(60, seed=9)] + [(text, "") for text in TEXTS]
        csv.writer(file).writerows([("text", "label"), *rows])
    return path


@pytest.fixture(scope="session")
def images_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Handwritten digits as PNG files."""
    folder = tmp_path_factory.mktemp("digits")
    for index in range(12):
        (folder / f"{index}.png").write_bytes(digit(index))
    return folder


@pytest.fixture
def computed_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of little services whose latencies are computed from their settings, so that a busy machine changes nothing.

    The services are started and asked for real; only the load is not sent.
    """

    def attempt(self: Subject, rate: float, seed: int = 1, seconds: float | None = None) -> Result:
        (alone,) = ask_one_by_one(self.plan.url, self.known.samples[:1], timeout_s=60)
        latency_ms = 20.0 if rate <= 50 * alone.parts()["workers"] else 500.0
        replies = [reply(latency_ms, due_s=number / rate) for number in range(max(1, round(2 * rate)))]
        return result_of(replies, len(replies) / rate, self.objective, idle=self.idle, network_ms=0.0)

    monkeypatch.setattr(Subject, "attempt", attempt)
    monkeypatch.setattr(contender, "MAX_RUNS", 4)
    monkeypatch.setattr(tune, "RUNS_A_TRIAL", 3)
