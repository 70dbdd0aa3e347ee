"""Whose heavy work starts, in virtual time: fair between clients, on time, and within the memory."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field

import hypothesis
import hypothesis.strategies as st
import pytest

from serving.load.heavy import KNOWN_CLIENTS, FairPlaces, HeavyWork, Kind
from serving.load.memory import MemoryLimit

MEGA = 1_000_000


def work(
    client: str = "a", units: int = MEGA, deadline_s: float = 1.0, size_bytes: int = 1, kind: Kind = "PNG"
) -> HeavyWork:
    return HeavyWork(client=client, kind=kind, units=units, size_bytes=size_bytes, deadline_s=deadline_s)


def places(memory: int = 100, count: int = 2) -> FairPlaces:
    return FairPlaces(MemoryLimit(memory), count)


@dataclass
class Simulation:
    """Heavy work that takes `ms_a_unit`, with places in front of it. Times are virtual."""

    places: FairPlaces
    memory: MemoryLimit
    ms_a_unit: float = 1e-5
    ended: list[tuple[HeavyWork, float]] = field(default_factory=list)
    refused: list[tuple[HeavyWork, float, str]] = field(default_factory=list)
    running: list[tuple[float, int, HeavyWork]] = field(default_factory=list)
    most_bytes: int = 0

    def run(self, arrivals: list[tuple[float, HeavyWork]]) -> None:
        for arrives_s, piece in sorted(arrivals, key=lambda arrival: arrival[0]):
            self.until(arrives_s)
            verdict = self.places.enter(piece, arrives_s)
            if verdict == "starts":
                self.start(piece, arrives_s)
            elif verdict != "waits":
                self.refused.append((piece, arrives_s, verdict))
        self.until(float("inf"))

    def until(self, limit_s: float) -> None:
        while self.running and self.running[0][0] <= limit_s:
            now_s, _, piece = heapq.heappop(self.running)
            self.places.leave(piece, now_s, ran=True)
            self.ended.append((piece, now_s))
            for following, verdict in self.places.next(now_s):
                if verdict == "starts":
                    self.start(following, now_s)
                else:
                    self.refused.append((following, now_s, verdict))

    def start(self, piece: HeavyWork, now_s: float) -> None:
        heapq.heappush(self.running, (now_s + piece.units * self.ms_a_unit / 1e3, id(piece), piece))
        self.most_bytes = max(self.most_bytes, self.memory.held_bytes)


def simulation(memory_bytes: int = 1_000, ms_a_unit: float = 1e-5) -> Simulation:
    memory = MemoryLimit(memory_bytes)
    return Simulation(FairPlaces(memory), memory, ms_a_unit)


def test_work_starts_while_a_place_is_free_and_then_waits() -> None:
    there = places()
    assert [there.enter(work(), 0.0) for _ in range(3)] == ["starts", "starts", "waits"]
    assert there.waiting == 1


def test_work_that_is_past_its_deadline_is_refused_before_it_starts() -> None:
    assert places().enter(work(deadline_s=1.0), 1.5) == "deadline"


def test_work_that_would_wait_too_long_is_refused_at_once() -> None:
    there = places()
    # Each takes 10 ms: the fourth would end after 40 ms at the earliest.
    verdicts = [there.enter(work(deadline_s=0.035), 0.0) for _ in range(9)]
    assert verdicts == ["starts", "starts", "waits", "waits", "waits", "waits", *["deadline"] * 3]


def test_work_that_can_never_be_on_time_takes_one_place_only() -> None:
    there = places()
    slow = [work(units=40 * MEGA, deadline_s=0.05) for _ in range(3)]
    assert [there.enter(each, 0.0) for each in slow] == ["starts", "deadline", "deadline"]
    assert there.enter(work(deadline_s=0.05), 0.0) == "starts", "a place is left for those who can be on time"


def test_work_waits_for_memory_and_what_exceeds_it_is_refused() -> None:
    memory = MemoryLimit(100)
    there = FairPlaces(memory)
    first = work(size_bytes=80)
    assert there.enter(first, 0.0) == "starts"
    assert there.enter(work(size_bytes=101), 0.0) == "memory"
    second = work(size_bytes=30)
    assert there.enter(second, 0.0) == "waits"
    assert list(there.next(0.005)) == []
    there.leave(first, 0.01, ran=True)
    assert list(there.next(0.01)) == [(second, "starts")]
    assert memory.held_bytes == 30


def test_memory_that_will_not_be_free_in_time_is_named() -> None:
    memory = MemoryLimit(100)
    there = FairPlaces(memory)
    assert there.enter(work(size_bytes=80, deadline_s=0.015), 0.0) == "starts"
    assert there.enter(work(size_bytes=30, deadline_s=0.012), 0.0) == "memory"


def test_a_client_that_floods_does_not_keep_others_out() -> None:
    there = places(count=1)
    flood = [work("flood", deadline_s=10.0) for _ in range(50)]
    assert [there.enter(each, 0.0) for each in flood] == ["starts", *["waits"] * 49]
    mine = work("mine", deadline_s=0.05)
    assert there.enter(mine, 0.001) == "waits"
    there.leave(flood[0], 0.01, ran=True)
    following = [next(there.next(0.01))[0]]
    there.leave(following[0], 0.02, ran=True)
    following.append(next(there.next(0.02))[0])
    assert mine in following


def test_large_work_counts_for_more_than_small_work() -> None:
    """Two clients that always have work: one of 10 million pixels, one of 1 million. Both get half of the time."""
    sim = simulation()
    large = [(0.0, work("large", 10 * MEGA, 100.0)) for _ in range(40)]
    small = [(0.0, work("small", MEGA, 100.0)) for _ in range(400)]
    sim.run([*large, *small])
    half = [piece for piece, ended_s in sim.ended if ended_s < 2.0]
    pixels = Counter(
        {client: sum(each.units for each in half if each.client == client) for client in ("large", "small")}
    )
    assert 0.8 < pixels["large"] / pixels["small"] < 1.25


def test_the_work_of_one_client_goes_first_in_first_out() -> None:
    sim = simulation()
    pieces = [work(units=MEGA, deadline_s=10.0) for _ in range(50)]
    sim.run([(0.001 * number, piece) for number, piece in enumerate(pieces)])
    begun = sorted(pieces, key=lambda piece: piece.began_s)
    assert begun == pieces


def test_work_that_gives_up_leaves_its_turn_and_its_memory() -> None:
    memory = MemoryLimit(100)
    there = FairPlaces(memory, places=1)
    first, second, third = (work(size_bytes=50) for _ in range(3))
    assert [there.enter(each, 0.0) for each in (first, second, third)] == ["starts", "waits", "waits"]
    there.leave(second, 0.001, ran=False)
    there.leave(first, 0.01, ran=True)
    assert list(there.next(0.01)) == [(third, "starts")]
    there.leave(third, 0.02, ran=True)
    assert (there.waiting, memory.held_bytes) == (0, 0)


def test_it_learns_what_work_takes_and_learns_again_when_that_changes() -> None:
    sim = simulation(ms_a_unit=1e-4)
    sim.run([(10.0 * number, work(deadline_s=10.0 * number + 5)) for number in range(30)])
    assert sim.places.expected_ms(work()) == pytest.approx(100, rel=0.01)
    # A budget of 50 ms is now too short, and is tried all the same while nothing else runs.
    sim.ms_a_unit = 1e-5
    sim.run([(1_000 + number, work(deadline_s=1_000.05 + number)) for number in range(30)])
    assert sim.places.expected_ms(work()) == pytest.approx(10, rel=0.05)
    assert sim.refused == []


def test_clients_of_the_past_are_forgotten() -> None:
    there = places(memory=10**9, count=KNOWN_CLIENTS * 3)
    for number in range(KNOWN_CLIENTS * 2):
        piece = work(f"client-{number}", deadline_s=1e9)
        assert there.enter(piece, 0.0) == "starts"
        there.leave(piece, 0.01, ran=True)
    assert len(there._next_turns_ms) <= KNOWN_CLIENTS + 1


@hypothesis.given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 80),
    load=st.floats(0.2, 10),
    clients=st.integers(1, 5),
    budget_s=st.floats(0.02, 1.0),
    memory_bytes=st.integers(20, 400),
)
def test_under_any_load_what_starts_late_started_alone(
    seed: int, count: int, load: float, clients: int, budget_s: float, memory_bytes: int
) -> None:
    """What is answered is on time, or could never be; every piece has one end; nothing is held afterwards."""
    rng, sim = random.Random(seed), simulation(memory_bytes)
    arrivals, now_s = [], 0.0
    for _ in range(count):
        units = rng.randint(1, 10) * MEGA
        now_s += rng.expovariate(load) * 0.0275
        piece = work(f"{rng.randrange(clients)}", units, now_s + budget_s, size_bytes=units // MEGA * 10)
        arrivals.append((now_s, piece))
    sim.run(arrivals)
    assert len(sim.ended) + len(sim.refused) == count
    assert (sim.memory.held_bytes, sim.places.waiting) == (0, 0)
    assert sim.most_bytes <= memory_bytes
    arrived = {id(piece): arrives_s for arrives_s, piece in arrivals}
    for piece, ended_s in sim.ended:
        possible = piece.units * sim.ms_a_unit / 1e3 <= budget_s
        assert ended_s <= piece.deadline_s + 1e-6 or not possible
    for piece, refused_s, verdict in sim.refused:
        assert refused_s >= arrived[id(piece)]
        assert verdict in ("deadline", "memory")


@pytest.mark.parametrize("load", [1.0, 2.0, 10.0])
def test_under_overload_both_places_do_work_that_is_on_time(load: float) -> None:
    rng, sim = random.Random(0), simulation()
    arrivals, now_s = [], 0.0
    while now_s < 30.0:
        units = rng.randint(1, 10) * MEGA
        now_s += rng.expovariate(load) * 0.0275
        arrivals.append((now_s, work(f"{rng.randrange(5)}", units, now_s + 0.3)))
    sim.run(arrivals)
    done = sum(piece.units for piece, ended_s in sim.ended if ended_s <= piece.deadline_s + 1e-6)
    assert done * sim.ms_a_unit / 1e3 > 0.85 * 2 * 30.0
