"""Tensors in JSON and as bytes: what goes in comes out, also with a client's code, and other lengths are refused."""

from __future__ import annotations

import numpy as np
import orjson
import pytest
import tritonclient.utils
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.errors import InvalidInputError, MalformedError
from serving.http.body import MAX_TEXTS
from serving.oip.tensors import Tensor, count_of, flat, packed, unpacked

ELEMENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=8)
FLOATS = arrays(np.float32, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(0, 1, width=32))
FLAGS = arrays(np.bool_, st.integers(1, 8))


@given(elements=ELEMENTS)
def test_bytes_are_packed_and_unpacked(elements: list[bytes]) -> None:
    assert unpacked(memoryview(packed(elements)), len(elements), "data") == elements


@given(elements=ELEMENTS)
def test_bytes_are_packed_as_by_tritons_client(elements: list[bytes]) -> None:
    theirs = tritonclient.utils.serialize_byte_tensor(np.array(elements, dtype=object)).item()
    assert packed(elements) == theirs
    assert tritonclient.utils.deserialize_bytes_tensor(packed(elements)).tolist() == elements


@given(data=st.binary(max_size=60), count=st.integers(1, 6))
def test_bytes_that_hold_other_lengths_are_malformed_and_never_a_failure(data: bytes, count: int) -> None:
    try:
        elements = unpacked(memoryview(data), count, "data")
    except MalformedError:
        return
    assert packed(elements) == data


@given(elements=ELEMENTS, cut=st.integers(1, 5))
def test_bytes_that_are_cut_or_longer_are_malformed(elements: list[bytes], cut: int) -> None:
    whole = packed(elements)
    for data in (whole[:-cut], whole + b"x" * cut):
        with pytest.raises(MalformedError, match=rf"^data: must be {len(elements)} elements, each behind its length"):
            unpacked(memoryview(data), len(elements), "data")


def test_a_length_beyond_all_memory_is_malformed() -> None:
    with pytest.raises(MalformedError):
        unpacked(memoryview(b"\xff\xff\xff\xffabc"), 1, "data")


@given(values=FLOATS)
def test_fp32_keeps_every_bit(values: np.ndarray) -> None:
    tensor = Tensor("scores", "FP32", values.shape, values)
    assert np.frombuffer(tensor.packed(), dtype="<f4").reshape(values.shape).tobytes() == values.tobytes()
    read = orjson.loads(orjson.dumps(tensor.in_json(), option=orjson.OPT_SERIALIZE_NUMPY))
    assert np.array(read, dtype=np.float32).tobytes() == values.tobytes()


@given(values=FLAGS)
def test_bool_is_a_byte_each_or_true_and_false(values: np.ndarray) -> None:
    tensor = Tensor("degraded", "BOOL", values.shape, values)
    assert np.frombuffer(tensor.packed(), dtype=np.bool_).tolist() == values.tolist()
    assert orjson.loads(orjson.dumps(tensor.in_json(), option=orjson.OPT_SERIALIZE_NUMPY)) == values.tolist()


@given(texts=st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_bytes_are_strings_in_json(texts: list[str]) -> None:
    tensor = Tensor("label", "BYTES", [len(texts)], [text.encode() for text in texts])
    assert orjson.loads(orjson.dumps(tensor.in_json())) == texts


@pytest.mark.parametrize(("shape", "count"), [([1], 1), ([3], 3), ([2, 1], 2), ([MAX_TEXTS], MAX_TEXTS)])
def test_a_shape_says_how_many_items_there_are(shape: list[int], count: int) -> None:
    assert count_of(shape, "shape") == count


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (None, "got null"),
        ("2", "got a string"),
        ([], "got a list of 0"),
        ([0], "got a list of 1"),
        ([-1], "got a list of 1"),
        ([True], "got a list of 1"),
        ([2.0], "got a list of 1"),
        ([MAX_TEXTS + 1], "got a list of 1"),
        ([2, 2], "got a list of 2"),
        ([1, 1, 1], "got a list of 3"),
    ],
)
def test_another_shape_is_refused(shape: object, said: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"^shape: must be \[n\] or \[n, 1\] .*{said}; send"):
        count_of(shape, "shape")


def test_data_may_be_flat_or_in_rows_of_one() -> None:
    assert flat(["a", "b"], 2, "data") == flat([["a"], ["b"]], 2, "data") == ["a", "b"]
    with pytest.raises(MalformedError, match="as many elements as the shape says, 2, got 1"):
        flat(["a"], 2, "data")
    with pytest.raises(MalformedError, match="must be a list, got a string"):
        flat("ab", 2, "data")
