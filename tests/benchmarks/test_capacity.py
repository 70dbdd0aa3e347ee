"""make capacity: what it measures, and when it fails."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import capacity
from benchmarks.published import Published
from loadtest.measuring.contender import Contender
from tests.conftest import TinyCascades


@pytest.mark.parametrize(("holds", "status"), [([True, True], 0), ([True, False], 1)])
def test_it_ends_with_1_where_the_simulation_falls_short(
    holds: list[bool], status: int, tiny_cascades: TinyCascades, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    @contextlib.contextmanager
    def served(self: Contender, plan: Any, objective: Any, log: Path) -> Iterator[Any]:
        assert (Path(self.variables["BENTOML_HOME"]) / "models").is_dir()
        assert "text=tiny-text" in self.line
        yield SimpleNamespace(plan=plan)

    def answer(plan: Any, **rest: Any) -> dict[str, Any]:
        given.update(plan=plan, **rest)
        return {"check": [{"holds": each} for each in holds]}

    monkeypatch.setattr(Contender, "served", served)
    monkeypatch.setattr(capacity, "Published", lambda name: Published(name, tiny_cascades.home / "models"))
    monkeypatch.setattr(capacity, "answer", answer)
    monkeypatch.setattr(capacity, "say", lambda result: None)
    monkeypatch.setattr(sys, "argv", ["capacity", "tiny-text", "--rate", "5000", "--limit-ms", "40"])
    assert capacity.main() == status
    assert (given["rate_per_s"], given["limit_ms"], given["plan"].budget_ms) == (5000.0, 40.0, 40.0)
    assert (given["workers"], given["share"], given["check_s"]) == (1, None, 15.0)
