"""The pictures of the pages."""

from __future__ import annotations

import numpy as np

from loadtest.pages import pictures
from loadtest.traffic.reply import KINDS
from loadtest.verdict.payloads import WORK, payload_row
from loadtest.verdict.steps import OUTCOMES, step_of
from tests.loadtest.replies import of_every_kind, reply


def test_the_pictures_show_every_kind_and_stay_small() -> None:
    drawn = pictures.over_time(of_every_kind(), 50.0)
    for kind in (*KINDS, "median", "p99", "50 ms"):
        assert f">{kind}<" in drawn
    assert drawn == pictures.over_time(of_every_kind(), 50.0)
    many = [reply(float(ms)) for ms in np.random.default_rng(1).exponential(10, 100_000)]
    curve = pictures.percentile_curve(many, 50.0)
    assert len(curve) < 100_000
    for name in ("p50", "p99", "p99.99"):
        assert f">{name}<" in curve


def test_the_picture_of_an_overload_shows_every_outcome_and_what_is_invalid() -> None:
    mixed = [*of_every_kind(), *[reply(99.0)] * 30]
    steps = [
        step_of(mixed, 10.0, times=1.0, deadline_ms=60.0),
        step_of([reply(5.0, lag_ms=9.0)] * 100, 1.0, times=2.0, deadline_ms=60.0),
    ]
    drawn = pictures.overload(steps, 60.0)
    for word in (*OUTCOMES, "p50", "p99", "60 ms", "invalid", "offered, times saturation"):
        assert f">{word}<" in drawn


def test_the_picture_of_payloads_shows_every_way_that_was_answered() -> None:
    answers = [reply(5.0, parts={"read": 0.1, "encode": 0.05}, reading_us=7.0)] * 3
    rows = [
        payload_row(
            kind, name, answers if name != "multipart" else [reply(kind="failed")], sent_bytes=[9], encode_us=[3]
        )
        for kind in ("text", "image")
        for name in ("json", "multipart", "grpc")
    ]
    drawn = pictures.payloads(rows)
    for word in ("JSON", "JSON, base64", "OIP, gRPC", "one text", "one image", *WORK.values()):
        assert f">{word}<" in drawn
    assert ">form<" not in drawn
    assert drawn == pictures.payloads(rows)
    assert ">one image<" not in pictures.payloads([row for row in rows if row["item"] == "text"])
    assert pictures.payloads([]).startswith("<svg"), "a service may answer none"


def test_the_picture_of_a_day_has_a_panel_for_each_quantity() -> None:
    panels = {"MB": {"API": [1.0, 2.0, 2.0], "expert": [3.0, 1.0, 3.0]}, "p99, ms": {"answers": [5.0, 9.0, 5.0]}}
    drawn = pictures.over_a_day([0.0, 0.5, 1.0], panels)
    for word in ("MB", "API", "expert", "p99, ms", "answers", "minutes"):
        assert f">{word}<" in drawn
    assert drawn == pictures.over_a_day([0.0, 0.5, 1.0], panels)
