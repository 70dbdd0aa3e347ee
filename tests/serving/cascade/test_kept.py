"""Kept answers: the same to the last bit, within their bytes, the least recently used go first."""

from __future__ import annotations

import gc
import math
import os
import random
import tracemalloc
from collections import OrderedDict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cascade.kept import Kept, KeptAnswers, entry_bytes, pack, unpack
from serving.model.answer import Answer

LABELS = ("a", "b", "c")
shares = st.floats(0, 1)


def kept(**changes: object) -> Kept:
    answer = Answer(label="b", confidence=0.7, margin=0.1, scores=(0.1, 0.7, 0.2))
    return Kept(**{"answer": answer, "stage": "expert", "screen_confidence": 0.4, "truncated": False, **changes})


@given(
    label=st.sampled_from(LABELS) | st.sets(st.sampled_from(LABELS)).map(lambda given: tuple(sorted(given))),
    scores=st.tuples(shares, shares, shares),
    confidence=shares,
    margin=st.floats(-1, 1),
    stage=st.sampled_from(("screen", "expert")),
    screen_confidence=shares,
    truncated=st.booleans(),
)
def test_a_kept_answer_is_the_answer(
    label: str | tuple[str, ...], scores: tuple[float, ...], confidence: float, margin: float, **more: object
) -> None:
    given = kept(answer=Answer(label=label, confidence=confidence, margin=margin, scores=scores), **more)
    assert unpack(pack(given, LABELS), LABELS) == given


def test_a_screen_that_failed_has_no_confidence() -> None:
    assert math.isnan(unpack(pack(kept(screen_confidence=math.nan), LABELS), LABELS).screen_confidence)


def test_what_was_used_least_recently_goes_first() -> None:
    size = entry_bytes(b"1", b"one")
    answers = KeptAnswers(2 * size)
    answers.put(b"1", b"one")
    answers.put(b"2", b"two")
    assert answers.get(b"1") == b"one"
    answers.put(b"3", b"tri")
    assert [answers.get(key) for key in (b"1", b"2", b"3")] == [b"one", None, b"tri"]
    answers.put(b"1", b"uno")
    assert (answers.get(b"1"), len(answers), answers.held_bytes) == (b"uno", 2, 2 * size)


def test_an_answer_that_is_too_large_for_all_of_it_is_not_kept() -> None:
    answers = KeptAnswers(500)
    answers.put(b"1", b"one")
    answers.put(b"2", bytes(1_000))
    assert (answers.get(b"1"), answers.get(b"2")) == (b"one", None)
    answers.put(b"1", bytes(1_000))
    assert (answers.get(b"1"), answers.held_bytes) == (None, 0)


@pytest.mark.parametrize("seed", range(5))
def test_it_never_holds_more_than_it_may(seed: int) -> None:
    rng = random.Random(seed)
    answers, model = KeptAnswers(20_000), OrderedDict[bytes, bytes]()
    for _ in range(2_000):
        key, packed = b"%d" % rng.randrange(200), bytes(rng.randrange(300))
        if rng.random() < 0.4:
            assert answers.get(key) == model.get(key)
            if key in model:
                model.move_to_end(key)
        else:
            answers.put(key, packed)
            model.pop(key, None)
            model[key] = packed
            while sum(entry_bytes(*entry) for entry in model.items()) > answers.limit_bytes:
                model.popitem(last=False)
        assert answers.held_bytes == sum(entry_bytes(*entry) for entry in model.items()) <= answers.limit_bytes


@pytest.mark.parametrize("limit_bytes", [200_000, 1_000_000, 5_000_000, 20_000_000])
def test_the_estimate_is_what_python_takes(limit_bytes: int) -> None:
    """Twice as many are put as there is room for, which is how a full table lives."""
    packed, count = pack(kept(), LABELS), 2 * limit_bytes // entry_bytes(bytes(16), pack(kept(), LABELS))
    gc.collect()
    tracemalloc.start()
    try:
        answers = KeptAnswers(limit_bytes)
        for _ in range(count):
            answers.put(os.urandom(16), bytes(bytearray(packed)))
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.6 * limit_bytes < taken <= limit_bytes


def test_the_garbage_collector_passes_over_kept_answers() -> None:
    answers = KeptAnswers(1_000_000)
    before = len(gc.get_objects())
    for _ in range(1_000):
        answers.put(os.urandom(16), pack(kept(), LABELS))
    assert len(gc.get_objects()) - before < 100
