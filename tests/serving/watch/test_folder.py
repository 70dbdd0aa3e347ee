"""Each server has a folder for its metrics, which ends with the last process that holds it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from serving.watch.folder import VARIABLE, own_folder
from tests.conftest import ROOT

WORKER = """
import sys
from serving.watch.folder import own_folder
variables = {"PROMETHEUS_MULTIPROC_DIR": sys.argv[1]}
print(own_folder(variables, int(sys.argv[2])), variables["PROMETHEUS_MULTIPROC_DIR"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """The folder that BentoML names."""
    folder = tmp_path / "prometheus_multiproc_dir"
    folder.mkdir()
    return folder


@contextmanager
def ended_after() -> Iterator[int]:
    """The id of a process that stands for a server."""
    server = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield server.pid
    server.kill()
    server.wait(10)


def worker(given: Path, server: int) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", WORKER, str(given), str(server)]
    return subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> Path:
    """The folder of a worker."""
    assert process.stdout is not None
    folder, named = process.stdout.readline().split()
    assert folder == named
    return Path(folder)


def killed(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.kill()
        process.communicate()


def folders(given: Path) -> set[Path]:
    return {path for path in given.parent.iterdir() if path.is_dir() and path != given}


def test_the_workers_of_a_server_share_a_folder_and_no_others(given: Path) -> None:
    with ended_after() as one, ended_after() as other:
        workers = [worker(given, server) for server in (one, other) * 4]  # all at the same moment
        got = [told(each) for each in workers]
        killed(*workers)
    assert len({*got[::2]}) == len({*got[1::2]}) == 1
    assert got[0] != got[1]
    assert got[0].parent == got[1].parent == given.parent


def test_a_folder_lasts_as_long_as_one_process_holds_it_whatever_becomes_of_the_others(given: Path) -> None:
    with ended_after() as server:
        first, second = worker(given, server), worker(given, server)
        folder = told(first)
        assert told(second) == folder
        (folder / "counter_1.db").touch()
    killed(first)  # its server has ended, too
    with ended_after() as server:
        third = worker(given, server)
        assert {told(third), folder} == folders(given)
        assert (folder / "counter_1.db").exists()
        killed(second)
        fourth = worker(given, server)
        assert {told(fourth)} == folders(given)
        killed(third, fourth)


def test_without_a_folder_of_bentoml_there_is_none(given: Path) -> None:
    variables: dict[str, str] = {}
    assert own_folder(variables, 1) is None
    assert variables == {}


def test_where_none_can_be_made_bentomls_own_has_to_do(given: Path) -> None:
    variables = {VARIABLE: str(given / "missing" / "folder")}
    before = dict(variables)
    assert own_folder(variables, 1) == given / "missing" / "folder"
    assert variables == before
