"""Which work stays on the event loop."""

from __future__ import annotations

from serving.load.direct import LONGEST_MS, TIMED_ONE_OF, DirectWork


def test_unknown_work_is_tried() -> None:
    assert DirectWork().fits(1_000_000)


def test_long_work_leaves_and_short_work_stays() -> None:
    work = DirectWork()
    work.took(32, 1.5)
    work.took(128, 6.0)
    assert work.fits(32)
    assert not work.fits(128)


def test_an_unknown_size_is_estimated_by_its_units() -> None:
    work = DirectWork()
    work.took(32, 1.0)
    assert work.fits(64)
    assert not work.fits(512)


def test_one_slow_run_does_not_send_work_away() -> None:
    work = DirectWork()
    for _ in range(20):
        work.took(32, 1.0)
    work.took(32, 9.0)
    assert work.fits(32)
    for _ in range(20):
        work.took(32, 2 * LONGEST_MS)
    assert not work.fits(32)


def test_work_that_became_fast_comes_back() -> None:
    work = DirectWork()
    work.took(32, 10.0)
    for _ in range(40):
        work.took(32, 1.0)
    assert work.fits(32)


def test_known_work_is_timed_now_and_then_and_unknown_work_always() -> None:
    work = DirectWork()
    assert work.times(32)
    assert work.times(32), "nothing was learned"
    work.took(32, 1.0)
    timed = [work.times(32) for _ in range(3 * TIMED_ONE_OF)]
    assert sum(timed) == 3
    assert work.times(512)
