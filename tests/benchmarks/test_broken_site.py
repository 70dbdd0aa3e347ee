"""What is done to a site's processes and files. tests/broken does it to a real one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import broken_site
from benchmarks.broken_site import Graphs, Site, Worker, is_ready, workers_of
from benchmarks.faulty import Way
from benchmarks.homes import NEVER, latest, make_home
from loadtest.traffic.process import Running, free_port
from serving.errors import ArtifactError
from serving.model.artifact import Artifact
from tests.conftest import TinyCascades

# A server that keeps up two processes with the name of the API's.
SERVER = """
import subprocess, sys
line = [sys.executable, "-c", "import time; time.sleep(60)", "--service-name sieve"]
workers = [subprocess.Popen(line) for _ in range(2)]
print(flush=True)
workers[0].wait()
sys.stdin.readline()
workers.append(subprocess.Popen(line))
print(flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def server() -> Iterator[Running]:
    line = [sys.executable, "-c", SERVER]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield Running(f"http://127.0.0.1:{free_port()}", process)
        for worker in workers_of(Running("", process)):
            worker.kill()
        process.kill()


def test_a_worker_is_replaced_when_there_are_as_many_without_it(server: Running) -> None:
    assert server.process.stdin is not None
    assert server.process.stdout is not None
    worker = Worker(server)
    before = workers_of(server)
    worker.kill()
    assert not worker.is_replaced()
    server.process.stdin.write(b"\n")
    server.process.stdin.flush()
    server.process.stdout.readline()
    assert worker.is_replaced()
    assert set(workers_of(server)) & set(before) == {before[1]}, "the oldest was killed"


def test_a_server_that_does_not_answer_is_not_ready(server: Running) -> None:
    assert not is_ready(server)


def test_graphs_are_cut_short_and_put_back(
    server: Running, tiny_cascades: TinyCascades, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[object] = []
    monkeypatch.setattr(broken_site, "expert_of", lambda there: there.expert)
    monkeypatch.setattr(broken_site, "kill", killed.append)
    home = make_home(tmp_path / "home", tiny_cascades.home / "models", "tiny-text", threshold=NEVER)
    folder = latest(home / "models", "tiny-text-expert")
    with Way(free_port()) as way:
        graphs = Graphs(Site(server, server, way, home, "tiny-text"))
        graphs.cut()
        assert killed == [server]
        with pytest.raises(ArtifactError):
            Artifact.open(folder)
        graphs.mend()
        Artifact.open(folder)
