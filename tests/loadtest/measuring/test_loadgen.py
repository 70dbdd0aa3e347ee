"""MLPerf LoadGen before a real server: its verdict on a rate, on answers that are missing, and on labels."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadtest.errors import LoadGenMissingError
from loadtest.measuring.loadgen import LoadGen
from loadtest.traffic.process import running
from loadtest.traffic.sample import Sample
from tests.loadtest.conftest import SERVICE


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that answers x after 20 ms, 64 at once."""
    folder = tmp_path_factory.mktemp("loadgen")
    (folder / "settings.toml").write_text("workers = 64\n")
    line = [sys.executable, str(SERVICE), "{port}", str(folder / "settings.toml")]
    with running(line, ready="/readyz", log=folder / "log", folder=folder) as server:
        yield server.url


def samples(path: str, *labels: str | None) -> list[Sample]:
    return [Sample(path, b'{"text": "a"}', "application/json", "short", label) for label in labels]


def client(url: str, sent: list[Sample], folder: Path, limit_ms: float) -> LoadGen:
    return LoadGen(url, sent, folder / "logs", limit_ms=limit_ms, timeout_s=5.0)


def test_a_rate_that_keeps_the_limit_is_valid(url: str, tmp_path: Path) -> None:
    found = client(url, samples("/classify_text", None), tmp_path, 20_000).performance(
        200, seconds=0.5, queries=470, seed=1
    )
    assert (found["valid"], found["over_limit"], found["not_full"]) == (True, 0, 0)
    assert found["queries"] >= 470
    assert found["p99_ms"] >= found["p50_ms"] >= 20
    assert "Run successful" in found["early_stopping"]


def test_early_stopping_wants_more_queries_than_a_point_estimate(url: str, tmp_path: Path) -> None:
    found = client(url, samples("/classify_text", None), tmp_path, 20_000).performance(
        100, seconds=0.1, queries=50, seed=1
    )
    assert found["over_limit"] == 0
    assert not found["valid"]
    assert "more queries" in found["early_stopping"]


def test_a_query_without_an_answer_is_over_the_limit(url: str, tmp_path: Path) -> None:
    found = client(url, samples("/nothing", None), tmp_path, 100).performance(100, seconds=0.1, queries=20, seed=1)
    assert found["not_full"] == found["over_limit"] == found["queries"]
    assert not found["valid"]


def test_accuracy_is_that_of_the_labels(url: str, tmp_path: Path) -> None:
    sent = samples("/classify_text", "x", "y", None, "x", "x")
    assert client(url, sent, tmp_path, 20_000).accuracy(100) == 0.75
    assert client(url, sent[2:3], tmp_path, 20_000).accuracy(100) is None


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(LoadGenMissingError, match=r"pip install 'sieve\[mlperf\]'"):
        client("http://127.0.0.1:1", [], tmp_path, 50)
