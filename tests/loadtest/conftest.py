"""`python -m loadtest` as a user runs it, and what it is given."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, messages
from tests.service.test_api import TEXTS, digit


def loadtest(*arguments: object, check: int = 0) -> subprocess.CompletedProcess[str]:
    """Run it in a process of its own, to the exit status `check`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, "-m", "loadtest", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == check, done.stdout + done.stderr
    return done


@pytest.fixture(scope="session")
def texts_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Labelled texts of which a screen is sure, and others that it never saw the like of."""
    path = tmp_path_factory.mktemp("loadtest") / "texts.csv"
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
