"""The progress of a run."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loadtest.pages import live
from tests.loadtest.replies import reply


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_is_drawn_where_a_person_looks_on(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    drawn = io.StringIO()
    monkeypatch.setattr(live, "console", Console(file=drawn, force_terminal=terminal, width=160))
    with live.Live("measuring", 3) as bar:
        for kind in ("ok", "ok", "shed"):
            bar.observe(reply(7.0 if kind == "ok" else 900.0, kind=kind))
    assert ("2 ok, 1 shed  p99 of the latest answers 7.0 ms" in drawn.getvalue()) == terminal
    assert terminal or not drawn.getvalue().strip()
