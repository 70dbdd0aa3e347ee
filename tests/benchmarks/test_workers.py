"""A second API process: the client's share is subtracted, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import workers
from benchmarks.figure_blocks import workers_block
from benchmarks.workers import Loop, Workers, freed, measured, summary, table
from loadtest.traffic.process import Running


def loop(per_s: float, client_cores: float = 0.0) -> Loop:
    return {"per_s": per_s, "client_cores": client_cores}


@pytest.mark.parametrize(
    ("per_s", "client", "processes", "cores", "free"),
    [
        (1000, 0.6, 1, 2, 1000),  # it had a core for itself
        (1400, 0.6, 2, 2, 2000),
        (500, 0.5, 1, 1, 1000),
        (1400, 0.6, 2, 4, 1400),
        (1400, 0.0, 2, 2, 1400),
    ],
)
def test_the_share_of_the_client_is_subtracted(
    per_s: float, client: float, processes: int, cores: int, free: float
) -> None:
    assert freed(loop(per_s, client), processes, cores) == pytest.approx(free)


def report(two_per_s: float, client: float = 0.5) -> Workers:
    found = {1: [loop(1000, client)] * 3, 2: [loop(two_per_s, client)] * 3}
    about: dict[str, Any] = {"machine": {"processor": "a", "cores": 2}, "load_average_before": 0.1, "cores": 2}
    return {**about, "client_core": None, "seconds": 4.0, **summary(found, 2)}  # type: ignore[typeddict-item]


def test_the_ratio_without_the_client_decides() -> None:
    good, bad = report(1300), report(1200)
    assert good["times"] is not None
    assert (good["times"]["median"], good["holds"]) == (1.73, True)
    assert not bad["holds"]
    assert "| times, at least 1.7 asked | 1.30 | 1.73 |" in table(good)
    assert "| 1.20 | **1.60** |" in table(bad)
    assert "2 cores" in workers_block(good)


def test_a_service_that_answers_nothing_has_no_ratio() -> None:
    found = {1: [loop(0.0)] * 3, 2: [loop(10.0)] * 3}
    assert summary(found, 2)["times"] is None
    assert not summary(found, 2)["holds"]


def test_both_are_asked_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def closed_loop(url: str, _body: object, **_: object) -> dict[str, float]:
        asked.append(url)
        return {"per_s": 10.0}

    monkeypatch.setattr(workers, "closed_loop", closed_loop)
    servers = {1: Running("one", None), 2: Running("two", None)}  # type: ignore[arg-type]
    found = measured(servers, {}, 2, 1.0, apart=True)
    assert asked == [f"{name}/classify_text" for name in ("one", "two", "two", "one")]
    assert found[1] == [loop(10.0)] * 2
