"""Driving a service with the arrivals of a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.errors import ArrivalsError
from loadtest.measuring.drive import drive
from loadtest.measuring.known import Known
from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import Sample
from tests.loadtest.little_server import little_server, ok

KNOWN = Known([Sample("/", b"{}", "application/json", "short")], [])


def test_replies_come_in_the_order_of_their_due_times() -> None:
    with little_server(lambda _: ok()) as url:
        plan = Plan(url=url, arrivals="constant:100", timeout_s=20)
        replies, seconds = drive(plan, KNOWN, 0.3, seed=1, title="measuring")
    assert [o.due_s for o in replies] == pytest.approx([n / 100 for n in range(30)])
    assert seconds == 0.3


def test_a_recording_ends_with_its_last_request(tmp_path: Path) -> None:
    (tmp_path / "times").write_text("5\n5.1\n5.2\n")
    with little_server(lambda _: ok()) as url:
        plan = Plan(url=url, arrivals=f"replay:{tmp_path / 'times'}", timeout_s=20)
        replies, seconds = drive(plan, KNOWN, 60, seed=1, title="measuring")
    assert len(replies) == 3
    assert seconds == pytest.approx(0.2)


def test_a_run_without_a_request_is_refused() -> None:
    with pytest.raises(ArrivalsError, match="ask for more of them, or for longer"):
        drive(Plan(url="", arrivals="poisson:0.0001"), KNOWN, 1, seed=1, title="measuring")
