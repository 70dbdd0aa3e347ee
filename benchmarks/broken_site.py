"""A service whose parts can be broken: an API of two processes, its expert apart, and a faulty way between the two."""

from __future__ import annotations

import contextlib
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.breaking import Part
from benchmarks.faulty import SLOWER, Way
from benchmarks.homes import ALWAYS, latest, make_home
from benchmarks.servers import ROOT, child, serve_line
from loadtest.traffic.process import Running, free_port, running

WORKERS = 2
CLOCK_S = 3_600
NAME, MACHINES = "experts.invalid", ("127.0.0.1", "127.0.0.2", "127.0.0.3")
SERVICES = """
import time
from pathlib import Path

_usual, _back = time.time, Path({file!r})
time.time = lambda: _usual() - ({seconds} if _back.exists() else 0)

from serving.expert.connection import Connections

_addresses = Connections._addresses

async def _three(self, host, port):
    return [(each, port) for each in {machines!r}] if host == {name!r} else await _addresses(self, host, port)

Connections._addresses = _three
from service import *
"""
"""The services, where the clock is set back while a file is there, and one name has three addresses."""
RESTART_S = 25.0
"""For how long the load goes on where a process has to be started again."""


@dataclass(frozen=True, slots=True)
class Site:
    """The servers of an API and of its expert, which `way` leads to. All models are in the BentoML home `home`."""

    api: Running
    expert: Running
    way: Way
    home: Path
    cascade: str


@contextlib.contextmanager
def site(models: Path, cascade: str, folder: Path) -> Iterator[Site]:
    """Serve a text cascade of the model store `models`, with a threshold at which everything escalates."""
    home = make_home(folder / "home", models, cascade, threshold=ALWAYS)
    with (
        expert(home, cascade, folder) as behind,
        Way(int(behind.url.rpartition(":")[2])) as way,
        api(home, cascade, folder, way.url) as before,
    ):
        yield Site(before, behind, way, home, cascade)


def expert(home: Path, cascade: str, folder: Path) -> contextlib.AbstractContextManager[Running]:
    """The server of an expert; its log goes into `folder`."""
    return _serve("TextExpert", home, cascade, folder, {})


def api(home: Path, cascade: str, folder: Path, expert_url: str) -> contextlib.AbstractContextManager[Running]:
    """The server of the API; its log goes into `folder`."""
    return _serve("Cascade", home, cascade, folder, {"SIEVE_TEXT_EXPERT_URL": expert_url})


@contextlib.contextmanager
def three_experts(there: Site, folder: Path) -> Iterator[tuple[Running, list[Way]]]:
    """Another API, for which the expert's name has three addresses, and the way of each to the same process."""
    port, target = free_port(), int(there.expert.url.rpartition(":")[2])
    with contextlib.ExitStack() as stack:
        ways = [stack.enter_context(Way(target, host, port)) for host in MACHINES]
        more = {"SIEVE_TEXT_EXPERT_URL": f"http://{NAME}:{port}", "SIEVE_CALLS_IN_FLIGHT": str(len(MACHINES))}
        yield stack.enter_context(_serve("Cascade", there.home, there.cascade, folder, more)), ways


def slow_one(ways: Sequence[Way]) -> Part:
    """Of several experts behind one name, that which is asked the most is slow."""

    def slow() -> None:
        max(ways, key=lambda way: way.passed).does("slow")

    def mend() -> None:
        for way in ways:
            way.does("none")

    return Part(
        what=f"of {len(ways)} experts behind one name, one takes {SLOWER} times as long",
        breaks=slow,
        mends=mend,
    )


def _serve(
    service: str, home: Path, cascade: str, folder: Path, more: dict[str, str]
) -> contextlib.AbstractContextManager[Running]:
    values = {"file": str(folder / "set-back"), "seconds": CLOCK_S, "machines": MACHINES, "name": NAME}
    (folder / "breakable.py").write_text(SERVICES.format(**values))
    variables = {
        "BENTOML_HOME": str(home),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(ROOT),
        "SIEVE_WORKERS": str(WORKERS),
        **more,
    }
    line = serve_line(f"text={cascade}", "image=", service=f"breakable:{service}")
    return running(line, variables=variables, ready="/readyz", log=folder / f"{service}.log", folder=folder)


def parts(there: Site, folder: Path) -> list[Part]:
    """The parts of a site that break, each in its way."""
    way, back = there.way, folder / "set-back"
    graphs = Graphs(there)
    worker = Worker(there.api)

    def expert_is_back() -> bool:
        return is_ready(there.expert)

    return [
        Part(
            what="the expert's process is killed",
            breaks=lambda: kill(expert_of(there)),
            is_back=expert_is_back,
            held_s=0.0,
            after_s=RESTART_S,
        ),
        Part(
            what="the expert's process stands still (SIGSTOP)",
            breaks=lambda: expert_of(there).suspend(),
            mends=lambda: expert_of(there).resume(),
        ),
        Part(
            what=f"the expert takes {SLOWER} times as long",
            breaks=lambda: way.does("slow"),
            mends=lambda: way.does("none"),
        ),
        Part(
            what="connections to the expert are refused",
            breaks=lambda: way.does("refused"),
            mends=lambda: way.does("none"),
        ),
        Part(what="the expert answers garbage", breaks=lambda: way.does("garbage"), mends=lambda: way.does("none")),
        Part(
            what="the expert answers byte by byte",
            breaks=lambda: way.does("byte by byte"),
            mends=lambda: way.does("none"),
        ),
        Part(
            what="the expert's graph is cut short, and its process killed",
            breaks=graphs.cut,
            mends=graphs.mend,
            is_back=expert_is_back,
            after_s=RESTART_S,
        ),
        Part(
            what="a process of the API is killed",
            breaks=worker.kill,
            is_back=worker.is_replaced,
            held_s=0.0,
            after_s=RESTART_S,
            takes_along=True,
        ),
        Part(what="the clock is set back by an hour", breaks=back.touch, mends=back.unlink),
    ]


class Worker:
    """The oldest process of an API, which can be killed."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._killed: psutil.Process | None = None

    def kill(self) -> None:
        """Kill it."""
        self._killed = workers_of(self._server)[0]
        kill(self._killed)

    def is_replaced(self) -> bool:
        """Whether another one was started."""
        there = workers_of(self._server)
        return len(there) == WORKERS and self._killed not in there


class Graphs:
    """The graphs of the expert in the model store, which can be cut short."""

    def __init__(self, there: Site) -> None:
        self._site = there
        self._whole: dict[Path, bytes] = {}

    def cut(self) -> None:
        """Cut each in half, as a copy that was stopped leaves it, and kill the expert's process, which has it open."""
        folder = latest(self._site.home / "models", f"{self._site.cascade}-expert")
        self._whole = {path: path.read_bytes() for path in folder.rglob("*.onnx")}
        for path, data in self._whole.items():
            path.write_bytes(data[: len(data) // 2])
        kill(expert_of(self._site))

    def mend(self) -> None:
        """Put the whole files back."""
        for path, data in self._whole.items():
            path.write_bytes(data)


def expert_of(there: Site) -> psutil.Process:
    """The process that runs the expert."""
    return child(there.expert, "--service-name TextExpert")


def workers_of(server: Running) -> Sequence[psutil.Process]:
    """The processes of an API, the oldest first."""
    found = []
    for process in psutil.Process(server.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "--service-name sieve" in " ".join(process.cmdline()):
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def kill(process: psutil.Process) -> None:
    """SIGKILL."""
    os.kill(process.pid, signal.SIGKILL)


def is_ready(server: Running) -> bool:
    """Whether a server answers its probe, at once."""
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=0.5) as response:  # nosec B310 # an address of ours
            return bool(response.status == 200)
    except (OSError, urllib.error.HTTPError):
        return False
