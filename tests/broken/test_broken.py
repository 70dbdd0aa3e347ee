"""Each part of a served cascade breaks under load, once: nothing is lost, and full answers come back by themselves.

How long things take is measured by `make broken`, on a machine that does nothing else.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.breaking import Load, break_once
from benchmarks.broken_ends import ENDS, end_once
from benchmarks.broken_site import Site, api, parts, slow_one, three_experts

pytestmark = pytest.mark.broken
HELD_S = 3.0
PARTS = range(9)


@pytest.mark.parametrize("number", PARTS)
def test_a_part_breaks_and_comes_back(there: Site, folder: Path, load: Load, number: int) -> None:
    all_of_them = parts(there, folder)
    assert len(all_of_them) == len(PARTS)
    part = all_of_them[number]
    said = break_once(load._replace(url=there.api.url), replace(part, held_s=min(part.held_s, HELD_S)), seed=1)
    print(part.what, said)
    assert said["lost" if part.takes_along else "failed"] == 0
    assert said["full_share_before"] > 0.5
    assert said["recovered_s"] is not None


def test_of_three_experts_the_slow_one_is_left_alone(there: Site, folder: Path, load: Load) -> None:
    with three_experts(there, folder) as (server, ways):
        said = break_once(load._replace(url=server.url), replace(slow_one(ways), held_s=8.0), seed=1)
        print(said, [way.passed for way in ways])
    assert said["failed"] == 0
    assert said["recovered_s"] is not None
    assert "fails or is far slower than other machines of experts.invalid" in (folder / "Cascade.log").read_text()


@pytest.mark.parametrize("what", ENDS)
def test_a_service_that_ends_answers_what_it_has_accepted(there: Site, folder: Path, load: Load, what: str) -> None:
    with api(there.home, there.cascade, folder, there.way.url) as server:
        said = end_once(load._replace(url=server.url), server, ENDS[what], seed=1)
    print(what, said)
    assert said["failed"] == 0
    assert said["took_s"] is not None
