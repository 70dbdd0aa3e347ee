"""make peers: what it writes, and that each server which is installed gives the label that the expert gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import peers
from benchmarks.peers import NAMES, PEERS, write_peers
from benchmarks.published import Published
from loadtest.baselines.model import Model
from loadtest.measuring.peers import Alone, Peer, read_peers
from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.process import running
from loadtest.traffic.sample import Sample
from tests.conftest import ROOT, TinyCascades

INSTALLED = ROOT / "build" / "peers"
ENVIRONMENTS = ROOT / "loadtest" / "baselines" / "environments"


@pytest.fixture
def published(tiny_cascades: TinyCascades) -> Published:
    return Published("tiny-text", tiny_cascades.home / "models")


def written(published: Published, folder: Path) -> tuple[Alone, list[Peer]]:
    """As `make peers` writes it, with the environments that are installed."""
    for key in PEERS:
        (folder / key).symlink_to(INSTALLED / key)
    return read_peers(write_peers(published, folder))


def test_every_peer_has_an_environment_that_is_pinned() -> None:
    assert {path.stem for path in ENVIRONMENTS.iterdir()} == PEERS.keys() == NAMES.keys()
    for path in ENVIRONMENTS.iterdir():
        pins = path.read_text().splitlines()
        assert all(line.count("==") == 1 for line in pins), path.name
        assert {"onnxruntime==1.31.1", "tokenizers==0.22.2"} <= set(pins), "the same runtime and tokeniser for all"


def test_all_run_the_same_graph_and_get_the_same_text(published: Published, tmp_path: Path) -> None:
    alone, (sieve, *others) = written(published, tmp_path)
    models = {peer.contender.variables["BASELINE"] for peer in others}
    assert models == {alone.variables["BASELINE"]}
    assert sieve.sample.body.replace(b"1000", b"50") == sieve.searched.body
    texts = {peer.contender.name: peer.sample.body for peer in (sieve, *others)}
    assert texts["MLServer"] == texts["Triton"]
    assert texts["mosec"] == texts["Ray Serve"] == texts["LitServe"]
    # A second run replaces the home of the first.
    assert write_peers(published, tmp_path).is_file()


@pytest.mark.parametrize("key", PEERS)
def test_a_peer_answers_as_the_model_does(key: str, published: Published, tmp_path: Path) -> None:
    if not (INSTALLED / key / ".installed").exists():
        pytest.skip(f"no {NAMES[key]} in build/peers (make peers)")
    _, peers = written(published, tmp_path)
    (peer,) = (peer for peer in peers if peer.contender.name == NAMES[key])
    c = peer.contender
    with running(c.line, variables=c.variables, ready=c.ready, log=tmp_path / "log", folder=c.folder) as server:
        reply, again = ask_one_by_one(server.url, [right(peer.sample, published)] * 2, timeout_s=30)
    assert (reply.kind, again.kind) == ("ok", "ok"), (tmp_path / "log").read_text()[-2000:]
    assert (reply.right, again.right) == (True, True)


def test_the_model_alone_has_figures_for_each_batch_size(published: Published, tmp_path: Path) -> None:
    alone, _ = written(published, tmp_path)
    line = (sys.executable, *alone.line[1:])
    here = Alone(line=line, variables=alone.variables, folder=alone.folder)
    loops = here.loops(0.1)
    assert loops.keys() == {1, 8, 32}
    assert all(loop["per_s"] > 0 and loop["p99_ms"] >= loop["p50_ms"] > 0 for loop in loops.values())


def test_the_command_says_what_comes_next(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "Published", lambda name: published)
    monkeypatch.setattr(peers, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["peers", "tiny-text"])
    assert peers.main() == 0
    assert (tmp_path / "peers.toml").is_file()


def test_make_peers_makes_every_environment() -> None:
    done = subprocess.run(["make", "-n", "peers"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(f"build/peers/{key}/.installed" in done.stdout + done.stderr for key in PEERS)


def right(sample: Sample, published: Published) -> Sample:
    """The sample with the label that the expert's graph gives to its text."""
    import dataclasses

    expert = published.expert
    model = Model(published.baseline(expert, "onnx", expert.variant_path(expert.manifest.default_cpu)))
    from benchmarks.texts import TOKENS, text_of

    return dataclasses.replace(sample, label=model.classify(text_of(TOKENS, expert))["label"])
