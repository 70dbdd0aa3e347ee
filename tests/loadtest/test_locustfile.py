"""The Locust file against the served tiny cascades, as a team that knows Locust runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.server import Server


def locust(url: str, *options: object, check: int) -> str:
    """Run it for three seconds, to the exit status `check`; all that it said."""
    line = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--host", url]
    line += ["-u", "4", "-t", "3s", "--only-summary", *map(str, options)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == check, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_shapes_have_names_and_the_pass_line_decides(server: Server, texts_file: Path, images_folder: Path) -> None:
    mix = (
        "--texts",
        texts_file,
        "--images",
        images_folder,
        "--image-share",
        0.3,
        "--hard-share",
        0.5,
        "--user-rate",
        20,
    )
    said = locust(server.url, *mix, "--budget-ms", 1000, "--p99-ms", 60_000, "--max-degraded", 1, check=0)
    for name in ("short, easy", "short, hard", "image"):
        assert name in said
    assert "PASSED: " in said
    assert "failed share 0, at most 0" in said


def test_degraded_answers_have_a_name_of_their_own_and_a_limit(server: Server, texts_file: Path) -> None:
    # No expert answers in a hundredth of a millisecond.
    options = ("--texts", texts_file, "--hard-share", 0.5, "--budget-ms", 0.01, "--p99-ms", 60_000, "--climb", "step")
    said = locust(server.url, *options, check=1)
    assert "hard, degraded" in said
    assert "FAILED: " in said
    for users in (1, 2, 3):
        assert f"Shape test updating to {users} users" in said


def test_what_cannot_be_asked_ends_with_a_sentence(server: Server) -> None:
    assert "must answer requests, got no reply" in locust("http://127.0.0.1:1", check=2)
    assert "none.csv: must be a CSV or TSV file" in locust(server.url, "--texts", "none.csv", check=2)
