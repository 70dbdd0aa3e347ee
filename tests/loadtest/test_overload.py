"""`python -m loadtest overload` against the served tiny cascades and against little servers."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.errors import SaturationError
from loadtest.measuring.contender import Subject
from loadtest.measuring.known import Known
from loadtest.overload import find_saturation
from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import Sample
from loadtest.verdict.objective import Objective
from loadtest.verdict.result import Result, result_of
from tests.loadtest.conftest import loadtest
from tests.loadtest.little_server import Sent, little_server, ok
from tests.loadtest.replies import reply
from tests.server import Server

# However slow and shared the machine is that runs these tests.
PATIENT = ("--budget-ms", 1000, "--grace-ms", 30_000, "--timeout-s", 60, "--max-lag-ms", 60_000)
FEW = ("--saturation", 40, "--steps", "0.5,1,2", "--seconds", 1)


def read(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "overload.json").read_text())
    return found


def test_a_service_that_has_enough_passes(server: Server, texts_file: Path, tmp_path: Path) -> None:
    said = loadtest("overload", server.url, *FEW, *PATIENT, "--texts", texts_file, "--out", tmp_path).stdout
    result = read(tmp_path)
    assert result["passed"]
    assert result["saturation"] == {"per_s": 40.0, "found": "given"}
    assert [step["times"] for step in result["steps"]] == [0.5, 1.0, 2.0]
    for step in result["steps"]:
        assert step["counts"]["full"] + step["counts"]["degraded"] == step["requests"] > 5
        assert step["server_p50_ms"] < step["answer_p50_ms"]
    assert any(step["expert_per_s"] for step in result["steps"]), "some of the texts are hard"
    assert "<svg" in (tmp_path / "overload.html").read_text()
    assert said.splitlines()[-2] == "PASSED"
    assert str(tmp_path.parent) not in json.dumps(result)


def test_the_rest_is_counted_as_shed_and_who_hangs_up_as_missing(tmp_path: Path) -> None:
    turn = [0]

    def every_other(_: bytes) -> Sent:
        turn[0] += 1
        if turn[0] < 50:  # while it is asked one by one
            return ok()
        return [ok(), (503, b"{}", "total;dur=7"), ok(degraded="deadline"), None][turn[0] % 4]

    with little_server(every_other) as url:
        said = loadtest("overload", url, *FEW, *PATIENT, "--out", tmp_path, check=1).stdout
    step = read(tmp_path)["steps"][-1]
    assert min(step["counts"][kind] for kind in ("full", "degraded", "shed", "missing")) > 5
    assert step["server_refusal_ms"] == 7.0
    assert "FAILS  p99 of a refusal in the server, ms: 7, at most 5 asked" in said
    assert "FAILS  requests without an answer" in said
    assert said.splitlines()[-2] == "FAILED"


def test_a_generator_that_is_late_proves_nothing(server: Server, tmp_path: Path) -> None:
    options = (*FEW, *PATIENT, "--max-lag-ms", 0.00001, "--out", tmp_path)
    said = loadtest("overload", server.url, *options, check=3).stdout
    result = read(tmp_path)
    assert not any(step["valid"] for step in result["steps"])
    assert (result["objective"], result["valid"], result["passed"]) == ([], False, False)
    assert said.count(" invalid |") == 3
    assert said.splitlines()[-2] == "INVALID"


def test_a_step_is_bounded_in_time_and_in_requests(tmp_path: Path) -> None:
    begin = time.monotonic()
    with little_server(lambda _: ok()) as url:
        bounds = ("--saturation", 50, "--steps", "1", "--seconds", 600, "--requests", 60)
        loadtest("overload", url, *bounds, *PATIENT, "--out", tmp_path)
    (step,) = read(tmp_path)["steps"]
    assert 20 < step["requests"] < 120, "60 on average"
    assert step["seconds"] == 1.2
    assert time.monotonic() - begin < 300


def subject(monkeypatch: pytest.MonkeyPatch, capacity: float, lag_from: float = 1e9) -> Subject:
    """A service that gives `capacity` full answers a second and sheds the rest; a generator late from a rate on."""

    def attempt(self: Subject, rate: float, seed: int = 1, seconds: float | None = None) -> Result:
        count = round(2 * rate)
        full = round(2 * min(rate, capacity))
        lag_ms = 50.0 if rate >= lag_from else 0.0
        replies = [reply(5.0, lag_ms=lag_ms, kind="ok" if i < full else "shed") for i in range(count)]
        return result_of(replies, 2.0, self.objective, idle=self.idle, network_ms=0.0)

    monkeypatch.setattr(Subject, "attempt", attempt)
    known = Known([Sample("/", b"", "", "short")], [reply(5.0)])
    return Subject(Plan(url="http://x"), Objective(limits_ms={"p99": 60.0}), known, known.idle)


@pytest.mark.parametrize("capacity", [20.0, 130.0, 2_000.0])
def test_saturation_is_where_the_service_just_keeps_up(capacity: float, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_saturation(subject(monkeypatch, capacity))
    assert found["found"] == "searched"
    assert 0.85 * capacity <= found["per_s"] <= capacity / 0.95 + 1


def test_saturation_of_the_generator_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_saturation(subject(monkeypatch, 1e6, lag_from=300.0))
    assert found["found"] == "the generator's"
    assert found["per_s"] < 300


def test_a_generator_that_is_late_at_every_rate_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SaturationError, match=r"got 100% at .*/s while the generator was 50 ms late"):
        find_saturation(subject(monkeypatch, 1e6, lag_from=0.0))


def test_a_service_that_keeps_up_with_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SaturationError, match=r"must give 95% full answers at some rate, got 0% at .*--saturation"):
        find_saturation(subject(monkeypatch, 0.0))
