"""Versions that are served no more: none of them keeps a model open, in the API's process or in the expert's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, Server, serve
from tests.service.test_degraded import TEXT_ONLY, with_point
from tests.service.test_switching import KEY, switch
from tests.stores import publish

COUNTING = """
import gc, os, threading, time, weakref
from pathlib import Path

import serving.http.expert_models
from serving.model.session import Session

serving.http.expert_models.UNUSED_S = 1.0
_open, _usual, _threads = weakref.WeakSet(), Session.__init__, set()

def _counted(self, *given, **named):
    _open.add(self)
    _threads.add(threading.get_ident())
    _usual(self, *given, **named)

def _tell():
    while True:
        time.sleep(0.5)  # a fork first closes the files of its parent, and would close this one, too
        beside = Path({folder!r}, f"writing-{{os.getpid()}}")
        beside.write_text(f"{{len(_open)}} {{len(_threads)}}")
        beside.rename(Path({folder!r}, f"open-{{os.getpid()}}"))

def _begin():
    threading.Thread(target=_tell, daemon=True).start()

Session.__init__ = _counted
_begin()
os.register_at_fork(after_in_child=_begin)
"""
"""What every process does before all else: it writes how many sessions it has open, and in how many threads it has
opened any. An expert lets go after a second.

It stands in sitecustomize.py, since the process of an expert imports no service, and is a fork.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("let-go")


@pytest.fixture(scope="module")
def counted(tiny_cascades: TinyCascades, folder: Path) -> Iterator[Server]:
    home = with_point(tiny_cascades, folder / "home", threshold=1.1)
    (folder / "sitecustomize.py").write_text(COUNTING.format(folder=str(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIEVE_ADMIN_KEY", KEY)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
        with serve(*TEXT_ONLY, home=home, folder=ROOT, log=folder / "log") as running:
            yield running


def told(folder: Path, process: int) -> tuple[int, int]:
    """The sessions that a process has open, and the threads that have opened any; 0 before it has told."""
    path = folder / f"open-{process}"
    sessions, threads = path.read_text().split() if path.exists() else (0, 0)
    return int(sessions), int(threads)


def one_open_in_each(folder: Path, *processes: int) -> list[int]:
    """Wait until each process has one session open; the threads that have opened any in each."""

    def held() -> list[tuple[int, int]]:
        return [told(folder, each) for each in processes]

    end_s = time.monotonic() + LIMIT_S
    while {sessions for sessions, _ in held()} != {1}:
        assert time.monotonic() < end_s, f"sessions that are open, and threads that opened any: {held()}"
        time.sleep(0.2)
    return [threads for _, threads in held()]


def test_no_version_stays_open_that_is_served_no_more(counted: Server, folder: Path) -> None:
    api, expert = counted.worker("sieve"), counted.worker("TextExpert")
    one_open_in_each(folder, api, expert)
    with counted.client() as client:
        for number in range(3):
            publish(folder / "home" / "models", "tiny-text", f"v{number}", mark=f"v{number} ")
            assert switch(client, f"v{number}").status_code == 200
    threads = one_open_in_each(folder, api, expert)
    assert threads == [1, 1], "each thread has a heap of its own, which would keep something of the models"
    assert httpx.get(f"{counted.url}/models").json()["text"]["operating_point"]["tag"].endswith(":v2")
