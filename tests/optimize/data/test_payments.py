from __future__ import annotations

from collections import Counter

from optimize.data.payments import OPEN, generate


def test_equal_seeds_give_equal_messages_and_others_others() -> None:
    assert generate(200, seed=4) == generate(200, seed=4)
    assert generate(200, seed=4) != generate(200, seed=5)


def test_messages_are_distinct_and_labels_come_in_equal_shares() -> None:
    rows = generate(600, seed=4)
    assert len({text for text, _ in rows}) == 600
    assert Counter(label for _, label in rows) == dict.fromkeys(OPEN, 100)


def test_every_slot_of_a_message_is_filled() -> None:
    assert not [text for text, _ in generate(600, seed=4) if "{" in text or "}" in text]
