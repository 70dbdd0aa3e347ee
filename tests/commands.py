"""Programs as a user runs them."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from optimize.__main__ import main

LIMIT_S = 600
ROOT = Path(__file__).parent.parent
needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


def optimize(
    *arguments: object,
    home: Path | None = None,
    folder: Path | None = None,
    check: bool = True,
    fresh: bool = False,
    **variables: str,
) -> subprocess.CompletedProcess[str]:
    """Run `python -m optimize` in a process of its own, with `variables` in its environment.

    The process is forked from one that has imported the libraries already, which takes 7 s of processor time. With
    `fresh` it is started as a user starts it, for what is decided at import: hub clients, hash seed, sys.path.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    if home is not None:
        environment["BENTOML_HOME"] = str(home)
    words = tuple(map(str, arguments))
    if fresh:
        command = [sys.executable, "-m", "optimize", *words]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, env=environment, timeout=LIMIT_S, check=False
        )
    else:
        done = _forked(words, folder or Path.cwd(), environment)
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def _forked(words: tuple[str, ...], folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.preloaded"])
    with tempfile.TemporaryDirectory() as kept:
        said, errors = Path(kept) / "stdout", Path(kept) / "stderr"
        process = context.Process(target=_main, args=(words, folder, environment, said, errors))
        process.start()
        process.join(LIMIT_S)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, LIMIT_S)
        return subprocess.CompletedProcess(words, process.exitcode, said.read_text(), errors.read_text())


def _main(
    words: tuple[str, ...], folder: Path, environment: dict[str, str], said: Path, errors: Path
) -> None:  # in the forked process
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for path, number in ((said, 1), (errors, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = ["optimize", *words]
    sys.exit(main())


def interruptible() -> None:
    """For a process that a test will interrupt: background jobs of a shell are deaf to SIGINT, and hand it on."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
