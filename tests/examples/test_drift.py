"""examples/drift: a service whose screen is sure of what it gets wrong; drift is silent, and the audit speaks."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.artifacts import change_weight, claim_in_store
from tests.commands import ROOT
from tests.conftest import TinyCascades, messages
from tests.examples.following import lines
from tests.server import variables
from tests.service.test_audit import expert_of

MORE = ("--usual", "250", "--shifted", "2000", "--audit-share", "1.0", "--misread-share", "0.5")


def run(home: Path, texts: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "examples.drift", "--cascade", "tiny-text", "--texts", str(texts)]
    command += ["--out", str(out), *MORE, *more]
    environment = {**os.environ, **variables(home)}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture
def home(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    shutil.copytree(tiny_cascades.home / "models", tmp_path / "home" / "models", symlinks=True)
    return tmp_path / "home"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(text.replace("\n", " ") for text, _ in messages(300, seed=17)), encoding="utf-8")
    return path


def test_the_audit_speaks_and_the_picture_is_drawn(home: Path, texts: Path, tmp_path: Path) -> None:
    change_weight(*expert_of(home))  # the expert answers most texts otherwise than the screen
    claim_in_store(home / "models", "tiny-text", "expert")
    done = run(home, texts, tmp_path / "drift.svg")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"the audit spoke -?\d+ requests after the shift", done.stdout)
    picture = (tmp_path / "drift.svg").read_text()
    assert "the audit says: broken" in picture
    assert "labels shift" in picture


def test_texts_that_the_screen_does_not_misread_show_nothing(home: Path, texts: Path, tmp_path: Path) -> None:
    texts.write_text("\n")
    done = run(home, texts, tmp_path / "drift.svg")
    assert done.returncode == 1
    assert "texts that the screen is sure of" in done.stderr


def test_its_commands_are_options_that_it_has() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.drift", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for line in lines("drift", "python -m examples.drift"):
        assert all(option in done.stdout for option in line if option.startswith("--"))
    assert len(lines("drift", "python -m examples.drift")) == 2
