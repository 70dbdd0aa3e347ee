"""The endpoints of an expert: raw arrays in, logits out, for callers that want the artifact that is served."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from serving.arrays import Array, Logits
from serving.expert.wire import LEFT_HEADER, TOOK_HEADER, WAITED_HEADER, pack, unpack
from serving.http.expert_app import METHODS, expert_endpoints, few_at_a_time, infer_endpoint
from serving.model.artifact import TextSettings
from serving.model.golden import GoldenCheck
from serving.model.preprocess import check_items
from serving.model.session import LANES, described
from serving.settings import MOST_BATCH_SIZE
from tests.serving.asgi import asked, get, piece, post, posting, request_of, routed

DIGEST = "1" * 64
ETAG = f'"{DIGEST}"'
ONE = pack([np.array([1, 2])])
TWO = pack([np.array([1, 2]), np.array([3])])
SESSION: Any = SimpleNamespace(
    provider_asked="CUDAExecutionProvider",
    provider_got="CPUExecutionProvider",
    runtime="onnxruntime",
    variant="cpu-int8",
    device="cpu",
    lanes=1,
)
GOLDEN = GoldenCheck(against="it computes something else")


class Running:
    """An expert that notes its runs: their sizes, and the threads that they were in."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: list[int] = []
        self.at_once = self.most_at_once = 0

    def __call__(self, items: Sequence[Array]) -> Logits:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.sizes.append(len(items))
        self.threads.append(threading.get_ident())
        time.sleep(0.002)
        logits = np.array([[item.sum(), 0.0] for item in items], dtype=np.float32)
        self.at_once -= 1
        return logits

    flushed = False

    def flush(self) -> None:
        self.flushed = True

    def exposition(self) -> tuple[bytes, str]:
        return f"runs {len(self.sizes)}\n".encode(), "text/plain"


class Traced:
    """Stands in for a tracer: notes the calls that it is told of."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []

    def ran(self, header: str, begin_s: float, end_s: float, size: int) -> None:
        assert begin_s <= end_s
        self.calls.append((header, size))


@pytest.fixture
def run() -> Running:
    return Running()


@pytest.fixture
def app(run: Running) -> Any:
    return routed(METHODS, expert_endpoints(DIGEST, SESSION, GOLDEN, run, run, None))


def test_every_address_has_an_endpoint(run: Running) -> None:
    assert set(expert_endpoints(DIGEST, SESSION, GOLDEN, run, run, None)) == set(METHODS)


def test_arrays_get_their_logits_and_the_time_they_took(app: Any) -> None:
    reply = post(app, "/infer", content=TWO)
    (logits,) = unpack(reply.content)
    assert logits.tolist() == [[3.0, 0.0], [3.0, 0.0]]
    assert float(reply.headers[TOOK_HEADER]) >= 0
    assert float(reply.headers[WAITED_HEADER]) >= 0
    assert reply.headers["etag"] == ETAG


def test_calls_run_in_one_thread_beside_the_event_loop(run: Running) -> None:
    endpoint = posting(infer_endpoint(run))
    post(endpoint, content=ONE)
    post(endpoint, content=TWO)
    assert run.sizes == [1, 2]
    assert run.threads[0] == run.threads[1] != threading.get_ident()


def test_calls_run_one_after_the_other_also_lone_items(app: Any, run: Running) -> None:
    asked(app, *[("POST", "/infer", {"content": content}) for content in (ONE, TWO)] * 8)
    assert sorted(run.sizes) == [1] * 8 + [2] * 8
    assert run.most_at_once == 1
    assert len(set(run.threads)) == 1


def test_a_run_in_another_thread_waits_for_its_turn(run: Running) -> None:
    """BentoML runs its batchable API in threads of its own."""
    told: list[tuple[int, int]] = []
    in_turn = few_at_a_time(run, lambda size, length, took_s: told.append((size, length)))
    threads = [threading.Thread(target=in_turn, args=([np.array([1])],)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert run.sizes == [1] * 6
    assert told == [(1, 1)] * 6
    assert run.most_at_once == 1


def test_as_many_runs_go_on_at_once_as_there_are_lanes() -> None:
    together = threading.Barrier(2)

    def meeting(items: Sequence[Array]) -> Logits:
        together.wait(60)  # each run ends only beside another one
        return np.zeros((len(items), 2), dtype=np.float32)

    told: list[int] = []
    two = few_at_a_time(meeting, lambda size, length, took_s: told.append(size), 2)
    threads = [threading.Thread(target=two, args=([np.array([1])],)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert told == [1] * 4


def test_a_call_whose_time_is_over_before_its_turn_is_not_run(app: Any, run: Running) -> None:
    first, late = ({"content": TWO, "headers": {LEFT_HEADER: left}} for left in ("1000", "0.5"))
    replies = asked(app, ("POST", "/infer", first), *[("POST", "/infer", late)] * 5)
    assert [reply.status_code for reply in replies] == [200] + [503] * 5
    assert run.sizes == [2]


def test_lanes_are_told_where_there_are_several() -> None:
    assert LANES not in described(SESSION)
    assert described(SimpleNamespace(**{**vars(SESSION), "lanes": 4}))[LANES] == "4"  # type: ignore[arg-type]


@pytest.mark.parametrize("left", ["soon", "nan"])
def test_a_time_that_is_no_number_is_refused(app: Any, run: Running, left: str) -> None:
    reply = post(app, "/infer", content=ONE, headers={LEFT_HEADER: left})
    assert (reply.status_code, run.sizes) == (400, [])
    assert "must be a number of milliseconds" in reply.text


def test_a_call_whose_caller_has_gone_is_not_run(run: Running) -> None:
    async def main() -> int:
        messages = [piece(ONE), {"type": "http.disconnect"}]
        return (await infer_endpoint(run)(request_of(*messages))).status_code

    assert asyncio.run(main()) == 503
    assert run.sizes == []


def test_what_is_no_message_is_refused_and_not_run(app: Any, run: Running) -> None:
    reply = post(app, "/infer", content=b"nonsense")
    assert (reply.status_code, run.sizes) == (400, [])
    assert "must be a message" in reply.text


def test_items_that_the_model_cannot_take_are_refused_and_not_run(run: Running) -> None:
    settings = TextSettings(max_tokens=8, pad_token_id=0, inputs=("input_ids",))
    endpoint = posting(infer_endpoint(run, check=partial(check_items, settings)))
    assert post(endpoint, content=TWO).status_code == 200
    reply = post(endpoint, content=pack([np.array([1, 2]), np.zeros((2, 2), dtype=np.int64)]))
    assert (reply.status_code, run.sizes) == (400, [2])
    assert "must hold items of int64 of 1 to 8 token ids" in reply.text


@pytest.mark.parametrize("address", ["/infer", "/model"])
def test_a_caller_of_another_artifact_gets_no_answer(app: Any, run: Running, address: str) -> None:
    content = {"content": ONE} if METHODS[address] == "POST" else {}
    for wanted, status in ((ETAG, 200), ('"another"', 412), (None, 200)):
        headers = {"If-Match": wanted} if wanted else {}
        (reply,) = asked(app, (METHODS[address], address, {"headers": headers, **content}))
        assert (reply.status_code, reply.headers["etag"]) == (status, ETAG)
    assert len(run.sizes) == (2 if address == "/infer" else 0)


@pytest.mark.parametrize("address", ["/infer", "/model"])
def test_a_pickle_is_refused(app: Any, run: Running, address: str) -> None:
    headers = {"content-type": "application/vnd.bentoml+pickle"}
    (reply,) = asked(app, (METHODS[address], address, {"headers": headers}))
    assert (reply.status_code, run.sizes) == (415, [])


def test_the_model_is_named_with_its_provider_asked_and_got(app: Any) -> None:
    said = get(app, "/model").json()
    runs = {"asked": "CUDAExecutionProvider", "device": "cpu", "got": "CPUExecutionProvider"}
    assert said == {**runs, "runtime": "onnxruntime", "variant": "cpu-int8", "against": GOLDEN.against}


def test_the_metrics_of_the_expert_are_there(app: Any) -> None:
    post(app, "/infer", content=ONE)
    assert get(app, "/metrics").text == "runs 1\n"


def test_a_call_with_a_traceparent_is_told_to_the_tracer(run: Running) -> None:
    tracer: Any = Traced()
    endpoint = posting(infer_endpoint(run, tracer))
    parent = f"00-{'1' * 32}-{'2' * 16}-01"
    for content in (ONE, TWO):
        post(endpoint, content=content, headers={"traceparent": parent})
        post(endpoint, content=content)
    assert tracer.calls == [(parent, 1), (parent, 2)]


def test_an_expert_that_fails_says_so_to_the_server() -> None:
    def broken(_: Sequence[Array]) -> Logits:
        raise RuntimeError("out of memory")

    async def ask() -> int:
        transport = httpx.ASGITransport(posting(infer_endpoint(broken)), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://expert") as client:
            return (await client.post("/", content=ONE)).status_code

    assert asyncio.run(ask()) == 500


def test_the_largest_call_over_http_has_as_many_items_as_the_largest_batch_size_says(app: Any, run: Running) -> None:
    items = [np.array([1])] * MOST_BATCH_SIZE
    assert len(unpack(post(app, "/infer", content=pack(items)).content)[0]) == MOST_BATCH_SIZE
    assert post(app, "/infer", content=pack([*items, items[0]])).status_code == 400
    assert run.sizes == [MOST_BATCH_SIZE]
