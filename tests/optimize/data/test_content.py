from __future__ import annotations

import numpy as np

from optimize.data.content import content_digest, keys_of, normalised
from optimize.data.rows import Rows
from serving.model.text import TextPair


def test_texts_that_differ_in_case_digits_and_white_space_are_near_duplicates() -> None:
    assert normalised("Paid 12  euros\n") == normalised("paid 7 EUROS") != normalised("paid euros")


def test_a_pair_turned_round_is_a_near_duplicate_with_content_of_its_own() -> None:
    pair, turned = TextPair("one", "two"), TextPair("two", "one")
    first, second = keys_of(Rows("text", [pair, turned], ["a", "b"], ["0", "1"], "a test"))
    assert first == second != keys_of(Rows("text", [TextPair("onet", "wo")], ["a"], ["0"], "a test"))[0]
    assert content_digest(pair) != content_digest(turned)


def test_pixels_of_another_shape_are_other_content() -> None:
    pixels = np.arange(12, dtype=np.uint8)
    assert content_digest(pixels.reshape(2, 2, 3)) != content_digest(pixels.reshape(1, 4, 3))
