from __future__ import annotations

import numpy as np
import pytest

from optimize.data.rows import Rows
from optimize.start.facts import Lengths, facts_of, lengths_of
from tests.encoders import tiny_tokeniser


def rows_of(texts: list[str], labels: list[str]) -> Rows:
    return Rows("text", texts, labels, [f"rows:{i}" for i in range(len(texts))], "rows")


def test_duplicates_contradictions_and_leaks_are_counted() -> None:
    train = rows_of(["Call 12 now", "call 7  now", "hello", "other", "other"], ["a", "b", "a", "b", "b"])
    holdout = rows_of(["HELLO", "new"], ["a", "b"])
    facts = facts_of(train, holdout, labelled=True)
    assert facts.holdout is not None
    assert (facts.train.duplicates, facts.train.contradictory, facts.leaked) == (2, 2, 1)
    assert dict(facts.labels) == {"a": 2, "b": 3}
    assert facts.imbalance == 1.5
    assert facts.lengths is not None
    assert (facts.lengths.unit, facts.lengths.quantile(1.0)) == ("words", 3)


def test_rows_without_labels() -> None:
    facts = facts_of(rows_of(["one", "two"], []), None, labelled=False)
    assert (facts.train.rows, len(facts.labels), facts.imbalance) == (2, 0, 1.0)


def test_images_have_sizes() -> None:
    images = [np.zeros((8, 10, 3), np.uint8), np.ones((8, 12, 3), np.uint8)]
    facts = facts_of(Rows("image", images, ["a", "b"], ["0", "1"], "images"), None, labelled=True)
    assert facts.lengths is None
    assert facts.sizes is not None
    assert facts.sizes.tolist() == [[10, 8], [12, 8]]


def test_lengths_are_those_that_a_model_reads() -> None:
    tokenizer = tiny_tokeniser("wordpiece")
    texts = ["pay your invoice", "call me later today"]
    assert lengths_of(texts, tokenizer).values.tolist() == [len(tokenizer(text)["input_ids"]) for text in texts]
    pair = len(tokenizer(*texts)["input_ids"])
    assert lengths_of([tuple(texts)], tokenizer).values.tolist() == [pair]


def test_quantiles_are_lengths_that_occur() -> None:
    lengths = Lengths("tokens", np.arange(1, 101))
    assert [lengths.quantile(share) for share in (0.5, 0.99, 1.0)] == [51, 100, 100]
    assert lengths.longer_than(90) == pytest.approx(0.1)
