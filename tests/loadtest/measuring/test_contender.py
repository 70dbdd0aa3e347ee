"""Contenders: the file that lists them, and how long a run of one lasts."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_WRONG, main
from loadtest.errors import ContenderError, LimitError
from loadtest.measuring.contender import CONFIRM_SEED, Contender, Subject, read_contenders
from loadtest.measuring.known import Known
from loadtest.traffic.limit import TimeLimit
from loadtest.traffic.plan import Plan
from loadtest.traffic.reply import Reply
from loadtest.verdict.objective import Objective
from tests.loadtest.conftest import COMMAND
from tests.loadtest.replies import reply


def test_a_file_of_contenders_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "contenders.toml"
    for text in ("", "[[contender]]\nname = 'x'\n", "contender = 5", "not toml"):
        path.write_text(text)
        with pytest.raises(ContenderError, match=r"\[\[contender\]\] tables"):
            read_contenders(path)
    path.write_text("[[contender]]\nname = 'x'\ncommand = 'serve --port {port}'\nvariables = {A = '1'}\n")
    (one,) = read_contenders(path)
    assert one.line == ("serve", "--port", "{port}")
    assert one.variables == {"A": "1"}
    assert one.folder == tmp_path
    assert main(["compare", str(tmp_path / "none.toml")]) == EXIT_WRONG


def test_a_contender_is_started_known_and_driven(tmp_path: Path) -> None:
    little = Contender(name="little", line=tuple(shlex.split(COMMAND)))
    with little.served(Plan(url="", timeout_s=30), Objective(), tmp_path / "log") as subject:
        assert subject.plan.url.startswith("http://127.0.0.1:")
        assert min(reply.latency_ms for reply in subject.idle) > 15, "timers of the event loop count whole milliseconds"
        assert 0 < subject.start_per_s <= 25
        found = subject.attempt(20.0, seconds=1.0)
    assert found["figures"]["requests"] == found["figures"]["outcomes"]["ok"] > 5
    assert found["figures"]["parts"]["all"] is not None
    assert found["figures"]["parts"]["all"]["server_ms"]["screen"] >= 20


def test_a_search_ends_on_a_rate_whose_verdict_was_strict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all slow requests came in one second, the next run may have two such seconds."""
    sent: list[tuple[float, int, float | None]] = []

    def send(self: Subject, rate: float, seed: int = 1, seconds: float | None = None) -> tuple[list[Reply], float]:
        sent.append((rate, seed, seconds))
        late, one_bad_moment = rate > 150, range(300, 315) if rate > 90 else ()
        return [reply(500.0 if late or n in one_bad_moment else 20.0, due_s=n / 100) for n in range(2_000)], 20.0

    monkeypatch.setattr(Subject, "send", send)
    subject = Subject(Plan(url=""), Objective(limits_ms={"p99": 50.0}), Known([], []), [])
    assert subject.attempt(100.0)["passed"]
    assert not subject.confirm(100.0, 1)["passed"]
    found = subject.highest(100.0, seed=1)
    assert found.result is not None
    assert 0 < found.rate_per_s <= 90
    assert sent[-1] == (found.rate_per_s, 1 + CONFIRM_SEED, 20.0)
    assert all(row["holds"] for row in found.result["objective"])
    hurried = subject.highest(100.0, seed=1, most=3)
    assert hurried.rate_per_s > 90, "with few runs, nothing is confirmed"


def test_no_run_begins_that_the_time_limit_would_end(tmp_path: Path) -> None:
    little = Contender(name="little", line=tuple(shlex.split(COMMAND)))
    plan = Plan(url="", timeout_s=30, limit=TimeLimit(600))
    with little.served(plan, Objective(), tmp_path / "log") as subject, pytest.raises(LimitError, match="search for"):
        subject.attempt(20.0, seconds=601)
