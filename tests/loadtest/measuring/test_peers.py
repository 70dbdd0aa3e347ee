"""Servers of one model: how a file names them, and a real one that is started, warmed up, measured and ended."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from loadtest.errors import ContenderError, NotStartedError
from loadtest.measuring.peers import Alone, read_peers
from loadtest.verdict.objective import Objective
from tests.loadtest.conftest import COMMAND

FIGURES = {"per_s": 10.0, "p50_ms": 100.0, "p99_ms": 120.0}


def written(path: Path, peer: str = "", alone: str = "command = 'a {seconds}'") -> Path:
    path.write_text(f"[alone]\n{alone}\n[[peer]]\nname = 'little'\ncommand = '{COMMAND}'\n{peer}")
    return path


def test_a_peer_has_a_request_for_the_loops_and_one_for_the_search(tmp_path: Path) -> None:
    said = 'body = \'{"text": "a"}\'\nsearched = \'{"text": "b"}\'\npath = "/infer"\nprotocol = "oip-json"\n'
    alone, (peer,) = read_peers(written(tmp_path / "peers.toml", said))
    assert alone.line == ("a", "{seconds}")
    assert (peer.sample.path, peer.sample.protocol, peer.sample.body) == ("/infer", "oip-json", b'{"text": "a"}')
    assert peer.searched.body == b'{"text": "b"}'
    _, (other,) = read_peers(written(tmp_path / "peers.toml", "body = '{}'"))
    assert other.searched == other.sample


@pytest.mark.parametrize("said", ["", "body = '{}'\nprotocol = 'soap'", "body = 1", "["])
def test_a_file_that_says_too_little_is_refused(said: str, tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match="must be TOML with"):
        read_peers(written(tmp_path / "peers.toml", said))


def test_a_file_that_is_not_there_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match="`make peers` writes it"):
        read_peers(tmp_path / "peers.toml")


def test_the_model_alone_prints_its_figures(tmp_path: Path) -> None:
    script = f"import json, os; print(json.dumps({{os.environ['SIZE']: {FIGURES} | {{'per_s': {{seconds}}}}}}))"
    alone = Alone(line=(sys.executable, "-c", script), variables={"SIZE": "8"}, folder=tmp_path)
    assert alone.loops(2.5) == {8: {**FIGURES, "per_s": 2.5}}
    broken = Alone(line=(sys.executable, "-c", "raise SystemExit('no graph')"), variables={}, folder=tmp_path)
    with pytest.raises(NotStartedError, match="got status 1: no graph"):
        broken.loops(1)


@pytest.mark.skipif(shutil.which("wrk") is None, reason="no wrk here")
@pytest.mark.usefixtures("computed_runs")
def test_a_server_is_measured_and_ends(tmp_path: Path) -> None:
    _, (peer,) = read_peers(written(tmp_path / "peers.toml", "body = '{\"text\": \"a\"}'\nready = '/readyz'"))
    with peer.served(tmp_path / "log") as server:
        loop = server.loop(8, 1)
        assert 0 < loop["per_s"] < 54, "one at a time, 20 ms each"
        assert loop["p50_ms"] > 20
        assert 0 < server.highest(40.0, Objective(limits_ms={"p99": 100.0}), seed=1) <= 52
    with pytest.raises(OSError, match="refused"):
        server_is_gone(server.url)


def test_a_server_that_gives_no_answer_is_not_measured(tmp_path: Path) -> None:
    _, (peer,) = read_peers(written(tmp_path / "peers.toml", "body = '{}'\npath = '/nothing'"))
    with pytest.raises(NotStartedError, match="got status 404"), peer.served(tmp_path / "log"):
        pass


def server_is_gone(url: str) -> None:
    import socket

    host, _, port = url.removeprefix("http://").partition(":")
    socket.create_connection((host, int(port)), timeout=5).close()


def test_bodies_are_json(tmp_path: Path) -> None:
    _, (peer,) = read_peers(written(tmp_path / "peers.toml", 'body = \'{"text": "a"}\''))
    assert json.loads(peer.sample.body) == {"text": "a"}
