"""Contenders: the file that lists them, and how long a run of one lasts."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_WRONG, main
from loadtest.errors import ContenderError
from loadtest.measuring.contender import Contender, read_contenders
from loadtest.traffic.plan import Plan
from loadtest.verdict.objective import Objective
from tests.loadtest.conftest import COMMAND


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
        assert min(reply.latency_ms for reply in subject.idle) >= 20
        assert 0 < subject.start_per_s <= 25
        found = subject.attempt(20.0, seconds=1.0)
    assert found["figures"]["requests"] == found["figures"]["outcomes"]["ok"] > 5
    assert found["figures"]["parts"]["all"] is not None
    assert found["figures"]["parts"]["all"]["server_ms"]["screen"] >= 20
