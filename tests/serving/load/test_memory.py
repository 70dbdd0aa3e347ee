"""What bodies and images may hold together."""

from __future__ import annotations

import hypothesis
import hypothesis.strategies as st

from serving.load.memory import BODY_SHARE, MemoryLimit


def test_bodies_leave_room_for_images() -> None:
    memory = MemoryLimit(100)
    assert memory.take_body(50)
    assert not memory.take_body(1)
    assert memory.fits(50)
    assert not memory.fits(51)


def test_images_and_bodies_share_one_limit() -> None:
    memory = MemoryLimit(100)
    memory.begin_work(80)
    assert memory.take_body(20)
    assert not memory.take_body(1)
    memory.end_work(80)
    assert memory.take_body(30)
    memory.give_body(50)
    assert memory.held_bytes == 0


@hypothesis.given(st.integers(0, 1_000), st.lists(st.tuples(st.booleans(), st.integers(0, 500))))
def test_the_limit_is_never_exceeded(capacity: int, wanted: list[tuple[bool, int]]) -> None:
    memory = MemoryLimit(capacity)
    for is_body, count in wanted:
        if is_body:
            memory.take_body(count)
        elif memory.fits(count):
            memory.begin_work(count)
        assert memory.held_bytes <= capacity
        assert memory.body_bytes <= BODY_SHARE * capacity
