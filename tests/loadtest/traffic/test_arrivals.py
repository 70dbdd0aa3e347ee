"""When requests are due: how many, how often, in what order."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.errors import ArrivalsError
from loadtest.traffic.arrivals import arrivals, lasting_s

RATES = st.integers(1, 400).map(lambda n: n / 4)
SECONDS = st.integers(1, 200).map(lambda n: n / 10)


def near(count: int, wanted: float) -> bool:
    """Within six standard deviations of a Poisson count."""
    return abs(count - wanted) <= 6 * math.sqrt(wanted)


@given(rate=RATES, seconds=SECONDS)
def test_constant_arrivals_are_evenly_spaced_and_fill_the_time(rate: float, seconds: float) -> None:
    due_s = arrivals(f"constant:{rate}", seconds, seed=1)
    assert len(due_s) == math.ceil(round(rate * seconds, 6))
    np.testing.assert_allclose(np.diff(due_s), 1 / rate)
    assert due_s[0] == 0
    assert due_s[-1] < seconds


@given(
    spec=st.one_of(
        RATES.map(lambda r: f"poisson:{r}"),
        st.lists(RATES, min_size=1, max_size=4).map(lambda rates: "step:" + ",".join(map(str, rates))),
        st.tuples(RATES, RATES).map(lambda ends: f"ramp:{ends[0]}-{ends[1]}"),
    ),
    seconds=SECONDS,
    seed=st.integers(0, 9),
)
def test_all_are_in_order_and_inside_the_time_and_of_the_seed(spec: str, seconds: float, seed: int) -> None:
    due_s = arrivals(spec, seconds, seed)
    assert (np.diff(due_s) >= 0).all()
    assert ((due_s >= 0) & (due_s <= seconds)).all()
    assert (due_s == arrivals(spec, seconds, seed)).all()


@given(rate=st.integers(20, 500), seed=st.integers(0, 50))
def test_poisson_arrivals_have_the_rate_and_the_spread_of_gaps(rate: int, seed: int) -> None:
    due_s = arrivals(f"poisson:{rate}", 40, seed)
    assert near(len(due_s), 40 * rate)
    gaps = np.diff(due_s)
    # Exponential gaps: as wide as they are long. Constant ones would give 0.
    assert 0.8 < gaps.std() / gaps.mean() < 1.25


def test_steps_share_the_time_and_ramps_go_straight() -> None:
    due_s = arrivals("step:50,200,100", 30, seed=4)
    for place, rate in enumerate((50, 200, 100)):
        assert near(int(((due_s >= 10 * place) & (due_s < 10 * (place + 1))).sum()), 10 * rate)
    for first, last in ((20, 180), (180, 20), (100, 100)):
        counts, _ = np.histogram(arrivals(f"ramp:{first}-{last}", 40, seed=2), bins=4, range=(0, 40))
        for quarter, count in enumerate(counts):
            assert near(int(count), 10 * (first + (last - first) * (quarter + 0.5) / 4))


def test_a_file_is_replayed_from_its_first_request_on(tmp_path: Path) -> None:
    file = tmp_path / "times.txt"
    file.write_text("1700000002.5\n\n1700000000\n1700000001\n1700000009\n")
    assert arrivals(f"replay:{file}", 5, seed=1).tolist() == [0, 1, 2.5]
    due_s = arrivals(f"replay:{file}", 60, seed=1)
    assert lasting_s(f"replay:{file}", due_s, 60) == 9, "rates are of the time that the file covers"
    assert lasting_s("poisson:1", due_s, 60) == 60


@pytest.mark.parametrize("spec", ["poisson", "poisson:", "poisson:0", "poisson:-5", "constant:nan", "constant:inf",
                                  "step:10,,20", "ramp:10", "often:5", ""])  # fmt: skip
def test_what_is_no_arrival_process_is_told_the_rule(spec: str) -> None:
    with pytest.raises(ArrivalsError, match=r"replay:FILE"):
        arrivals(spec, 10, seed=1)


@pytest.mark.parametrize("content", [b"", b"one\n", b"nan\n", b"inf\n", b"\xff\xfe1\n"])
def test_a_file_that_has_no_times_is_refused_by_its_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.txt").write_bytes(content)
    with pytest.raises(ArrivalsError, match=r"bad\.txt: must"):
        arrivals(f"replay:{tmp_path / 'bad.txt'}", 10, seed=1)
    with pytest.raises(ArrivalsError, match="FileNotFoundError"):
        arrivals(f"replay:{tmp_path / 'none.txt'}", 10, seed=1)
