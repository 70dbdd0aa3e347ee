"""Messages of arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.errors import MalformedError
from serving.expert.wire import MAX_ARRAYS, TYPES, pack, unpack


@given(st.lists(arrays(np.int64, st.integers(0, 9)), min_size=1, max_size=8))
def test_packed_arrays_come_back(items: list[Any]) -> None:
    got = unpack(pack(items))
    assert all(np.array_equal(one, other) for one, other in zip(items, got, strict=True))
    image = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    (same,) = unpack(pack([image]))
    assert np.array_equal(same, image)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"{}",
        b"nonsense\nx",
        pack([np.arange(3)])[:-1],
        b'{"type":"object","shapes":[[1]]}\n12345678',
        b"\x80\x04K\x01.",
        b'{"type":"int64","shapes":[[4294967296,4294967296]]}\n',
        b'{"type":"int64","shapes":[[0,9223372036854775807]]}\n',
        b'{"type":"int64","shapes":[[0,18446744073709551615]]}\n',
        b'{"type":"int64","shapes":[[0,99999999999999999999999]]}\n',
        b'{"type":"int64","shapes":[[1.0]]}\n12345678',
        b'{"type":"int64","shapes":[[true]]}\n12345678',
        b'{"type":"int64","shapes":[["1"]]}\n12345678',
        b'{"type":"int64","shapes":[[[1]]]}\n12345678',
        b'{"type":"int64","shapes":["1"]}\n12345678',
        b'{"type":"int64","shapes":{"1":1}}\n12345678',
        b'{"type":"int64","shapes":[[-1]]}\n12345678',
        b'{"type":"int64","shapes":[[-1,-1]]}\n12345678',
        b'{"type":["int64"],"shapes":[[1]]}\n12345678',
        b'{"type":"float32","shapes":[[1]]}\n12345678',
        b'{"type":"int64","shapes":[]}\n',
        b'{"type":"int64","shapes":[%b[1]]}\n12345678' % (b"[0]," * MAX_ARRAYS),
        b'{"type":"int64","shapes":[[%b]]}\n12345678' % b",".join([b"1"] * 65),
        b"[" * 2000 + b"\n",
    ],
)
def test_bytes_that_are_no_message_are_refused(message: bytes) -> None:
    with pytest.raises(MalformedError, match="body: must be a message"):
        unpack(message)


numbers = st.one_of(st.integers(), st.integers(-2, 3), st.integers(2**61, 2**65), st.floats(), st.booleans(), st.none())
shapes = st.recursive(numbers | st.text(max_size=2), lambda inner: st.lists(inner, max_size=4), max_leaves=12)
heads = st.fixed_dictionaries(
    {"shapes": shapes | st.lists(st.lists(numbers, max_size=3), max_size=3)},
    optional={"type": st.sampled_from([*TYPES, "object", "<i8", "float64", None, 1])},
)


@given(heads.map(lambda head: json.dumps(head).encode()) | st.binary(max_size=40), st.binary(max_size=48))
@example(b'{"type":"float32","shapes":[[2,1]]}', b"\x00\x00\xc0\x7f\x00\x00\x80\x7f")
def test_any_bytes_are_a_message_or_refused(head: bytes, data: bytes) -> None:
    for message in (head + b"\n" + data, head + data):
        try:
            got = unpack(message)
        except MalformedError:
            continue
        assert sum(array.nbytes for array in got) == len(message.partition(b"\n")[2])
        assert {str(array.dtype) for array in got} <= set(TYPES)
