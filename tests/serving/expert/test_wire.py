"""Messages of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from serving.errors import MalformedError
from serving.expert.wire import pack, unpack


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
    ],
)
def test_bytes_that_are_no_message_are_refused(message: bytes) -> None:
    with pytest.raises(MalformedError, match="body: must be a message"):
        unpack(message)
