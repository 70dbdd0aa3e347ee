from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT

# As BentoML starts Circus, with what `service.py` does before it, and a worker that sleeps.
PLAY = """
import sys
from bentoml._internal.utils.circus import create_standalone_arbiter
from circus.watcher import Watcher
from serving.control import close_control
if sys.argv[1] != "open":
    close_control()
    close_control()
plugins = [{"use": "circus.plugins.statsd.FullStats"}] if sys.argv[1] == "plugin" else []
arbiter = create_standalone_arbiter([Watcher("sleeps", "sleep", ["100"])], plugins=plugins)
arbiter.start(cb=lambda _: print("started", flush=True))
"""


def listening(how: str) -> tuple[set[int], set[Path]]:
    """The TCP ports and the files of the unix sockets on which Circus listens."""
    line = [sys.executable, "-c", PLAY, how]
    with subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        try:
            assert any("started" in said for said in process.stdout)
            one = psutil.Process(process.pid)
            ports = {each.laddr.port for each in one.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
            files = {Path(str(each.laddr)) for each in one.net_connections("unix") if each.laddr}
            for file in files:
                assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700, "nobody else may enter"
        finally:
            process.terminate()
            process.wait(60)
    assert not any(file.parent.exists() for file in files)
    return ports, files


def test_without_it_circus_takes_commands_on_a_port() -> None:
    """If this fails, BentoML has closed them itself, and serving/control.py can go."""
    ports, _ = listening("open")
    assert len(ports) == 2


@pytest.mark.parametrize(("how", "sockets"), [("closed", set()), ("plugin", {"control", "events"})])
def test_with_it_circus_listens_on_no_port(how: str, sockets: set[str]) -> None:
    ports, files = listening(how)
    assert not ports
    assert {file.name for file in files} == sockets
