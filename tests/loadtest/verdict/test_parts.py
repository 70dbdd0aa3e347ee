"""Where the time of an answer went."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.verdict.parts import GROUPS, breakdown, grouped
from tests.loadtest.replies import reply

MS = st.floats(0, 200).map(lambda v: round(v, 3))
PARTS = st.dictionaries(
    st.sampled_from(["admission", "read", "tokenise", "screen", "queue", "expert", "hop", "new"]), MS
)


@given(parts=PARTS, unnamed=MS, outside=MS, lag=MS, network=MS, states_total=st.booleans())
def test_the_groups_add_up_to_the_latency(
    parts: dict[str, float], unnamed: float, outside: float, lag: float, network: float, states_total: bool
) -> None:
    total = sum(parts.values()) + unnamed
    stated = {**parts, "total": round(total, 3)} if states_total else parts
    one = reply(total + outside + lag, lag_ms=lag, parts=stated)
    groups = grouped(one, network)
    assert set(groups) == set(GROUPS)
    assert min(groups.values()) >= -1e-6
    assert sum(groups.values()) == pytest.approx(one.latency_ms, abs=0.01)
    assert groups["generator"] == lag


def test_what_passes_outside_is_network_first_and_then_queueing() -> None:
    parts = {"read": 1, "tokenise": 2, "screen": 3, "queue": 4, "expert": 5, "hop": 6, "encode": 1, "total": 22}
    groups = grouped(reply(32.0, parts=parts), 3.0)
    assert groups == {"network": 6 + 3, "serialization": 2, "pre-processing": 2, "queueing": 4 + 7, "inference": 8,
                      "other": 0, "generator": 0}  # fmt: skip
    assert grouped(reply(9.0), 3.0)["other"] == 9.0, "a server that states nothing"


def test_a_wait_that_the_server_overstates_by_a_tick_does_not_count() -> None:
    groups = grouped(reply(9.0, parts={"wait": 8, "screen": 4, "total": 12}), 3.0)
    assert groups["queueing"] == 5
    assert sum(groups.values()) == 9


def test_the_slowest_are_the_slowest_twentieth() -> None:
    answers = [reply(float(i), parts={"screen": i / 2, "total": float(i)}) for i in range(1, 101)]
    found = breakdown(answers, 0.0)
    assert found["all"]["latency_ms"] == 50.5
    assert found["slowest"]["latency_ms"] == 98.0
    assert found["slowest"]["groups_ms"]["inference"] == found["slowest"]["server_ms"]["screen"] == 49.0
    assert sum(found["slowest"]["groups_ms"].values()) == pytest.approx(98.0)
