"""Shared by all tests: where the real data lies, the tiny cascades, and a server of both."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import httpx
import hypothesis
import pytest
from xdist.scheduler import LoadScopeScheduling

from loadtest.traffic.process import free_port
from tests.commands import ROOT as ROOT
from tests.commands import interruptible as interruptible
from tests.commands import optimize as optimize
from tests.server import TINY, Server, serve
from tests.tiny import TinyCascades as TinyCascades
from tests.tiny import copy_of_cascades
from tests.tiny_recipes import messages as messages

# Two test processes with two threads each would fight over two cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
TOGETHER = ("broken", "container", "hostile", "machines")
# A property holds on a busy machine too, only later. CI tries the same examples each time, so that its verdict is one
# on the change; by hand each run tries others, and `search` many of them.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.register_profile("same", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("search", deadline=None, max_examples=3000)
hypothesis.settings.load_profile("any machine")


class Together(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps the tests of a file, or of a folder that shares what is dear, in one process of pytest-xdist.

    `--dist loadgroup` with marks cannot: pytest-xdist 3.8.0 writes the group into what pytest 9.2 does not read.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = PurePosixPath(nodeid.partition("::")[0])
        return str(path.parent if path.parent.name in TOGETHER else path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Together:
    """Called in the process that hands out the tests."""
    return Together(config, log)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with text/, image/ and weights/ beside the checkout; skips where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside this checkout (../shared/data)")
    return folder


@pytest.fixture(scope="session")
def tiny_cascades(tmp_path_factory: pytest.TempPathFactory) -> TinyCascades:
    """Both tiny cascades, built and published by the command line: this process's own copy."""
    return copy_of_cascades(tmp_path_factory.mktemp("tiny") / "cascades")


@pytest.fixture(scope="session")
def tiny_bert(tiny_cascades: TinyCascades) -> Path:
    """A folder with a BERT of 4 layers and width 32, random weights, and a WordPiece vocabulary of its own."""
    return tiny_cascades.bert


@pytest.fixture(scope="session")
def tiny_recipes(tiny_cascades: TinyCascades) -> dict[str, Path]:
    """Recipe files of the two tiny cascades; their relative paths start at the files' folder."""
    return tiny_cascades.recipes


@pytest.fixture(scope="session")
def server(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both tiny cascades, served from the checkout, over gRPC too."""
    log, port = tmp_path_factory.mktemp("serve") / "log", free_port()
    with serve(*TINY, "--arg", f"grpc_port={port}", home=tiny_cascades.home, folder=ROOT, log=log) as running:
        running.grpc = f"127.0.0.1:{port}"
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as opened:
        yield opened
