"""The pictures of the pages."""

from __future__ import annotations

import numpy as np

from loadtest.pages import pictures
from loadtest.traffic.reply import KINDS
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
