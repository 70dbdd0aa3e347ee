"""What became of a request, and what its reply says of the server's time."""

from __future__ import annotations

import pytest

from loadtest.traffic.reply import KINDS, read_answer, triage
from tests.loadtest.replies import reply


@pytest.mark.parametrize(
    ("header", "parts"),
    [
        ("screen;dur=1.25, total;dur=2", {"screen": 1.25, "total": 2.0}),
        ('db;desc="a query";dur=53.2,cache;desc=miss', {"db": 53.2}),
        ("app; dur=7 ,edge;dur=0", {"app": 7.0, "edge": 0.0}),
        ("missing, broken;dur=x, also;dur=", {}),
        ("", {}),
    ],
)
def test_server_timing_is_read_as_servers_write_it(header: str, parts: dict[str, float]) -> None:
    assert reply(timing=header).parts() == parts
    assert reply(timing=header).server_ms == parts.get("total")


def test_replies_are_told_apart() -> None:
    assert triage(200, None) == "ok"
    assert triage(200, "deadline") == "degraded"
    assert triage(503, None) == triage(429, None) == "shed"
    assert triage(500, None) == triage(422, None) == triage(404, None) == triage(504, None) == "failed"
    assert [kind for kind in KINDS if reply(kind=kind).answered] == ["ok", "degraded"]


def test_who_deferred_is_who_wanted_the_expert() -> None:
    assert reply(stage="expert").deferred
    assert reply(stage="screen", kind="degraded").deferred
    assert not reply(stage="screen").deferred


def test_an_answer_is_a_json_object_or_none() -> None:
    assert read_answer(b'{"label": "ham"}') == {"label": "ham"}
    assert read_answer(b'[{"label": "ham"}]') == {"label": "ham"}, "a batch of one"
    for data in (b"", b"<html>", b"[1]", b'"ham"', b"\xff"):
        assert read_answer(data) is None


def test_lag_is_not_on_the_wire() -> None:
    assert reply(12.0, lag_ms=2.0).wire_ms == 10.0
