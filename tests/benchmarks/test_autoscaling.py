"""make autoscaling: what deploy/kubernetes does at a step of the load, which the figures of docs/kubernetes.md show."""

from __future__ import annotations

import json

import pytest

from benchmarks import autoscaling
from benchmarks.autoscaling import ENOUGH_SHARE, SHAPES, Row, Shape, played, table
from tests.conftest import ROOT

KEPT: list[Row] = json.loads((ROOT / "docs" / "measured" / "figures" / "autoscaling.json").read_text())["rows"]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape.name} {shape.high_per_s:g}")
def test_deploy_kubernetes_reaches_the_needed_number_and_comes_back(shape: Shape) -> None:
    ours, busy = played(shape)
    assert ours["enough_after_s"] is not None
    assert ours["missed_last"] <= ENOUGH_SHARE
    assert ours["back_after_s"] is not None
    assert ours["most"] <= 2 * ours["needed"], "it does not ask for far more than are needed"
    assert ours["missed_first"] <= busy["missed_first"] or busy["before"] > ours["before"]
    assert ours in KEPT, "the page shows what the files of deploy/ do: make autoscaling figures"


def test_the_time_that_runs_take_is_too_little_for_slow_experts_and_too_much_for_those_that_batch() -> None:
    rows = {(row["what"], row["high_per_s"]): row for row in KEPT if row["rule"] == "time busy alone"}
    slow, batching = rows[SHAPES[0].name, SHAPES[0].high_per_s], rows[SHAPES[2].name, SHAPES[2].high_per_s]
    assert slow["enough_after_s"] is None
    assert batching["most"] > 2 * batching["needed"]


def test_a_number_that_is_never_reached_is_told_so() -> None:
    row: Row = {**KEPT[0], "enough_after_s": None}
    assert "| never |" in table([row])


def test_it_writes_what_it_prints(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    written: dict[str, object] = {}
    monkeypatch.setattr(autoscaling, "SHAPES", SHAPES[:1])
    monkeypatch.setattr(autoscaling, "write_json", lambda path, value: written.update({path.name: value}))
    assert autoscaling.main() == 0
    rows = played(SHAPES[0])
    assert written == {"autoscaling.json": {"rows": rows}}
    assert capsys.readouterr().out.strip() == table(rows)
