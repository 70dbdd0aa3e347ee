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
        beside = Path({folder!r}, f"writing-{{os.getpid()}}")
        beside.write_text(f"{{len(_open)}} {{len(_threads)}}")
        beside.rename(Path({folder!r}, f"open-{{os.getpid()}}"))
        time.sleep(0.1)

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


def open_sessions(folder: Path, process: int) -> int:
    return int((folder / f"open-{process}").read_text().split()[0])


def opening_threads(folder: Path, process: int) -> int:
    return int((folder / f"open-{process}").read_text().split()[1])


def test_no_version_stays_open_that_is_served_no_more(counted: Server, folder: Path) -> None:
    api, expert = counted.worker("sieve"), counted.worker("TextExpert")
    assert (open_sessions(folder, api), open_sessions(folder, expert)) == (1, 1)
    with counted.client() as client:
        for number in range(3):
            publish(folder / "home" / "models", "tiny-text", f"v{number}", mark=f"v{number} ")
            assert switch(client, f"v{number}").status_code == 200
    end_s = time.monotonic() + LIMIT_S
    while (held := (open_sessions(folder, api), open_sessions(folder, expert))) != (1, 1):
        assert time.monotonic() < end_s, f"the API has {held[0]} models open, the expert {held[1]}"
        time.sleep(0.2)
    threads = opening_threads(folder, api), opening_threads(folder, expert)
    assert threads == (1, 1), "each thread has a heap of its own, which would keep something of the models"
    assert httpx.get(f"{counted.url}/models").json()["text"]["operating_point"]["tag"].endswith(":v2")
