"""What is known of a service before it is driven."""

from __future__ import annotations

import pytest

from loadtest.errors import UnreachableError
from loadtest.measuring.known import Known, candidates, get_to_know
from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import Sample
from loadtest.traffic.workload import PLAIN_TEXTS, Mix
from tests.loadtest.little_server import little_server, ok
from tests.loadtest.replies import reply

SAMPLE = Sample("/classify_text", b"{}", "application/json", "short", label="ham")


def test_nobody_there_is_told() -> None:
    for url in ("http://127.0.0.1:1", "127.0.0.1:1", "no url"):
        with pytest.raises(UnreachableError, match="got no reply; start the service"):
            get_to_know(url, [SAMPLE], seed=1)
    with little_server(lambda _: (404, b"{}")) as url, pytest.raises(UnreachableError, match="got status 404"):
        get_to_know(url, [SAMPLE] * 50, seed=1)


def test_who_was_degraded_when_asked_alone_is_hard() -> None:
    replies = {b"sure": ok(), b"unsure": ok(stage="expert"), b"too late": ok(degraded="deadline")}
    samples = [Sample("/", body, "", "short") for body in replies]
    with little_server(lambda body: replies[body]) as url:
        known = get_to_know(url, samples, seed=1)
    assert {s.body: s.shape for s in known.samples} == {
        b"sure": "short, easy",
        b"unsure": "short, hard",
        b"too late": "short, hard",
    }
    with little_server(lambda _: (200, b'{"label": "ham"}')) as url:
        assert {s.shape for s in get_to_know(url, samples, seed=1).samples} == {"short"}


def test_a_plan_sends_texts_images_or_both() -> None:
    shapes = [{s.shape for s in candidates(Plan(url="", mix=Mix(image_share=share)))} for share in (0.0, 0.5, 1.0)]
    assert shapes == [{"short", "long"}, {"short", "long", "image"}, {"image"}]
    assert len(candidates(Plan(url=""))) == len(PLAIN_TEXTS)


def test_figures_without_a_queue_are_in_the_mix_of_the_run() -> None:
    samples = [Sample("/", b"", "", shape) for shape in ("short, easy", "short, hard")]
    known = Known(samples, [reply(3.0, parts={"total": 1.0}), reply(9.0, parts={"total": 7.0})])
    assert known.network_ms == 2.0
    idle = known.typical(Mix(hard_share=1.0), seed=1)
    assert {o.latency_ms for o in idle} == {9.0}
    found = known.figures(idle)
    assert (found["requests"], found["p50_ms"], found["network_ms"], found["hard_share"]) == (2, 9.0, 2.0, 0.5)
    assert Known(samples, [reply(3.0), reply(9.0)]).network_ms == 0.0, "the server states no total"
