"""Which requests are equal, which answers are kept, and that drift sees each of them."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest

from serving.cascade.cascade import StageAnswer
from serving.cascade.equal import EqualRequests, equal_requests
from serving.cascade.kept import KeptAnswers
from serving.model.answer import Answer
from serving.model.text import TextPair
from tests.points import make_point

ANSWER = Answer(label="b", confidence=0.9, margin=0.8, scores=(0.1, 0.9))
FULL: dict[str, Any] = {"answer": ANSWER, "stage": "expert", "escalated": True, "degraded": None}


def modality(**changes: Any) -> Any:
    seen: list[tuple[float, bool]] = []
    parts = {
        "name": "mine",
        "version": "v1",
        "screen_tag": "mine-screen:1",
        "expert_tag": "mine-expert:1",
        "digests": {"screen": "aa", "expert": "bb"},
        "cascade": SimpleNamespace(labels=("a", "b"), point=make_point(), observe=lambda *told: seen.append(told)),
        "seen": seen,
    }
    return SimpleNamespace(**{**parts, **changes})


def test_different_texts_and_pairs_have_different_digests() -> None:
    texts = ["ab", "ab ", "AB", "a\u0301", "\u00e1", TextPair("ab", ""), TextPair("a", "b"), TextPair("", "ab")]
    digests = EqualRequests(1_000).text_digests(texts)
    assert len(set(digests)) == len(texts)
    assert EqualRequests(1_000).text_digests(["ab"]) != digests[:1], "another process has another secret"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"version": "v2"},
        {"screen_tag": "mine-screen:2"},
        {"expert_tag": "mine-expert:2"},
        {"digests": {"screen": "ab", "expert": "bb"}},
        {"digests": {"screen": "aa", "expert": "bc"}},
        {"cascade": SimpleNamespace(labels=("a", "b"), point=make_point(threshold=0.81), observe=lambda *_: None)},
    ],
    ids=" ".join,
)
def test_another_version_of_a_cascade_has_answers_of_its_own_and_finds_them_again(changes: dict[str, Any]) -> None:
    equal, before, after = EqualRequests(10_000), modality(), modality(**changes)
    (digest,) = equal.text_digests(["where is my refund"])
    for each, stage in ((before, "screen"), (after, "expert")):
        (key,) = equal.keys(each, [digest])
        assert equal.found(each, [key]) == {}
        equal.keep(each, key, StageAnswer(**{**FULL, "stage": stage}), False)
    for each, stage in ((before, "screen"), (after, "expert")):
        assert equal.found(each, equal.keys(each, [digest]))[0][0].stage == stage


def test_a_kept_answer_was_not_escalated_again_and_drift_sees_it_each_time() -> None:
    equal, mine = EqualRequests(10_000), modality()
    keys = equal.keys(mine, equal.text_digests(["one", "two", "three"]))
    equal.keep(mine, keys[0], StageAnswer(**FULL, screen_confidence=0.3), True)
    equal.keep(mine, keys[2], StageAnswer(**{**FULL, "stage": "screen"}, screen_confidence=0.9), False)
    for _ in range(2):
        found = equal.found(mine, keys)
        assert list(found) == [0, 2]
        (first, truncated), (third, _) = found[0], found[2]
        assert (first.answer, first.stage, first.escalated, first.cached) == (ANSWER, "expert", False, "kept")
        assert (truncated, third.stage) == (True, "screen")
    assert mine.seen == [(0.3, True), (0.9, False)] * 2


def test_drift_is_not_told_of_an_item_on_which_the_screen_failed() -> None:
    equal, mine = EqualRequests(10_000), modality()
    (key,) = equal.keys(mine, equal.text_digests(["one"]))
    equal.keep(mine, key, StageAnswer(**FULL, screen_confidence=math.nan), False)
    assert equal.found(mine, [key])
    assert mine.seen == []


@pytest.mark.parametrize("degraded", ["deadline", "shed", "down", "gone", "failed"])
def test_an_answer_that_is_not_full_is_never_kept(degraded: str) -> None:
    equal, mine = EqualRequests(10_000), modality()
    (key,) = equal.keys(mine, equal.text_digests(["one"]))
    for answer, stage in itertools.product((ANSWER, None), ("screen", "expert")):
        equal.keep(mine, key, StageAnswer(answer=answer, stage=stage, escalated=True, degraded=degraded), False)
    assert equal.found(mine, [key]) == {}


def test_what_is_kept_holds_nothing_of_the_content() -> None:
    equal, mine = EqualRequests(10_000), modality()
    (key,) = equal.keys(mine, equal.text_digests(["Green Fork has booked my 1534 euros again"]))
    equal.keep(mine, key, StageAnswer(**FULL), False)
    held = b"".join(itertools.chain.from_iterable(equal.kept._packed.items()))
    assert len(held) < 80
    assert not any(part in held for part in (b"Green", b"1534", b"mine"))


def test_without_megabytes_there_is_nothing() -> None:
    told: list[KeptAnswers] = []
    assert equal_requests(0, told.append) is None
    equal = equal_requests(2, told.append)
    assert equal is not None
    assert told == [equal.kept]
    assert equal.kept.limit_bytes == 2_000_000
