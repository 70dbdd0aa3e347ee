"""POST /infer of the experts as they are served: whatever comes, it is answered or refused, and never a failure."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from serving.expert.wire import LEFT_HEADER, pack, unpack
from tests.server import Server


def expert(server: Server, kind: str) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=server.expert_socket(kind))
    return httpx.Client(transport=transport, base_url="http://expert", timeout=60)


@pytest.fixture(scope="module", params=["text", "image"])
def inner(server: Server, request: pytest.FixtureRequest) -> Any:
    with expert(server, request.param) as client:
        yield client


ids = arrays(
    np.int64, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5), elements=st.integers(-(2**63), 2**63 - 1)
)
pixels = arrays(np.float32, array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
SENT = (
    st.lists(ids, min_size=1, max_size=3).map(pack) | st.lists(pixels, min_size=1, max_size=3).map(pack) | st.binary()
)


@given(sent=SENT)
@example(sent=pack([np.array([1, -1, 10**9]), np.array([2, 3])]))
@example(sent=pack([np.full(100_000, 1)]))
@example(sent=b'{"type":"int64","shapes":[[0,9223372036854775807]]}\n')
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_never_fails(inner: httpx.Client, sent: bytes) -> None:
    reply = inner.post("/infer", content=sent)
    assert reply.status_code in (200, 400), reply.text
    if reply.status_code == 200:
        assert len(unpack(reply.content)[0]) == len(unpack(sent))


def test_a_token_that_the_model_lacks_spoils_only_its_own_item(server: Server) -> None:
    good, bad = np.array([2, 5, 3]), np.array([2, 10**9, 3])
    with expert(server, "text") as client:
        (logits,) = unpack(client.post("/infer", content=pack([good, bad, good])).content)
        (alone,) = unpack(client.post("/infer", content=pack([good])).content)
    assert np.isnan(logits[1]).all()
    assert logits[0].tolist() == logits[2].tolist() == alone[0].tolist()


@pytest.mark.parametrize("left", ["soon", "nan", ""])
def test_a_time_that_is_no_number_is_refused(inner: httpx.Client, left: str) -> None:
    assert inner.post("/infer", content=pack([np.array([2])]), headers={LEFT_HEADER: left}).status_code == 400
