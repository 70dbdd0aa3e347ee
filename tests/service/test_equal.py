"""Equal requests against the served process: one item of the expert for all in flight, then answers that are kept."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton

from loadtest.traffic.process import free_port
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, PATIENT_MS, TINY, Server, in_full, pauses, serve
from tests.service.test_api import digit
from tests.service.test_degraded import with_point

AT_ONCE = 24
BUDGET = {"budget_ms": PATIENT_MS}


@pytest.fixture(scope="module")
def keeping(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that keeps answers, over gRPC too, whose text screen defers everything."""
    folder, port = tmp_path_factory.mktemp("keeping"), free_port()
    home = with_point(tiny_cascades, folder, threshold=1.1)
    (folder / "settings.toml").write_text("workers = 1\ncache_mb = 1\n")
    more = ("--arg", f"settings={folder / 'settings.toml'}", "--arg", f"grpc_port={port}")
    with serve(*TINY, *more, home=home, folder=ROOT, log=folder / "log") as running:
        running.grpc = f"127.0.0.1:{port}"
        yield running


@pytest.fixture
def client(keeping: Server) -> Iterator[httpx.Client]:
    with keeping.client() as opened:
        yield opened


def counted(client: httpx.Client, name: str, **labels: str) -> float:
    """The sum of the samples of a metric that have these labels."""
    time.sleep(1)  # counts reach the page within half a second
    lines = [line for line in client.get("/metrics").text.splitlines() if re.match(rf"{name}[{{ ]", line)]
    return sum(
        float(line.split()[-1]) for line in lines if all(f'{key}="{is_}"' in line for key, is_ in labels.items())
    )


def expert_items(client: httpx.Client) -> float:
    return counted(client, "sieve_expert_batch_size_sum", modality="text")


async def all_at_once(server: Server, text: str, then: Callable[[], None]) -> list[dict[str, Any]]:
    """The answers to equal requests of which all are under way when `then` is called."""
    async with server.async_client(AT_ONCE) as client:
        body = {"text": text, **BUDGET}
        asks = [asyncio.ensure_future(client.post("/classify_text", json=body)) for _ in range(AT_ONCE)]
        await asyncio.sleep(0.3)
        then()
        return [reply.json() for reply in await asyncio.gather(*asks)]


def test_equal_requests_in_flight_are_one_item_of_the_expert(keeping: Server, client: httpx.Client) -> None:
    """The expert stands still until all of them wait. Where a busy machine is too slow, another text is asked."""
    worker, end_s = keeping.worker("TextExpert"), time.monotonic() + LIMIT_S
    for number, pause in enumerate(pauses()):
        items = expert_items(client)
        joined = counted(client, "sieve_equal_total", modality="text", how="joined")
        drifted = client.get("/models").json()["text"]["drift"]["n"]
        os.kill(worker, signal.SIGSTOP)
        try:
            text = f"where is my refund of {number} euros"
            answers = asyncio.run(all_at_once(keeping, text, lambda: os.kill(worker, signal.SIGCONT)))
        finally:
            os.kill(worker, signal.SIGCONT)
        if all(answer.get("degraded", "shed") is None for answer in answers):
            break
        assert time.monotonic() < end_s, answers
        time.sleep(pause)
    assert expert_items(client) - items == 1
    assert [answer["escalated"] for answer in answers].count(True) == 1
    assert [answer["cached"] for answer in answers].count(True) == AT_ONCE - 1
    assert {(answer["label"], answer["confidence"], answer["stage"]) for answer in answers} == {
        (answers[0]["label"], answers[0]["confidence"], "expert")
    }
    assert counted(client, "sieve_equal_total", modality="text", how="joined") - joined == AT_ONCE - 1
    assert client.get("/models").json()["text"]["drift"]["n"] - drifted == AT_ONCE


def without_times(reply: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = reply.json()
    return {key: value for key, value in answer.items() if key not in ("request_id", "timings_ms", "escalated")}


def test_a_kept_answer_is_the_same_and_says_that_it_is_kept(client: httpx.Client) -> None:
    body = {"text": "my card was declined in Lisbon", **BUDGET}
    first, second = (in_full(client, "/classify_text", json=body) for _ in range(2))
    assert without_times(second) == {**without_times(first), "cached": True}
    assert (first.json()["cached"], second.json()["escalated"]) == (False, False)
    assert second.json()["timings_ms"].keys() == {"wait", "admission", "read", "cache", "encode", "total"}
    other = in_full(client, "/classify_text", json={**body, "text": "my card was declined in lisbon"}).json()
    assert not other["cached"], "another text, whatever a tokeniser makes of it"


def test_all_addresses_find_the_same_answers(keeping: Server, client: httpx.Client) -> None:
    text = "somebody has used my card in a town where I have never been"
    in_full(client, "/classify_text", json={"text": text, **BUDGET})
    before = counted(client, "sieve_equal_total", modality="text", how="kept")
    listed = in_full(client, "/classify_texts", json={"texts": ["a new one", text, "  "], **BUDGET}).json()["answers"]
    assert [answer.get("cached") for answer in listed] == [False, True, None]
    inputs = [{"name": "text", "shape": [1], "datatype": "BYTES", "data": [text]}]
    told = client.post("/v2/models/text/infer", json={"inputs": inputs, "parameters": BUDGET}).json()
    with triton.InferenceServerClient(keeping.grpc) as rpc:
        given = triton.InferInput("text", [1], "BYTES").set_data_from_numpy(np.array([text], dtype=object))
        result = rpc.infer("text", [given], parameters=BUDGET)
    outputs = {output["name"]: output["data"] for output in told["outputs"]}
    assert {listed[1]["label"], result.as_numpy("label")[0].decode()} == {outputs["label"][0]}
    assert [outputs["cached"], result.as_numpy("cached").tolist()] == [[True], [True]]
    assert counted(client, "sieve_equal_total", modality="text", how="kept") - before == 3


def test_a_file_is_equal_however_it_is_sent(client: httpx.Client) -> None:
    data = digit(7)
    first = in_full(client, "/classify_image", files={"image": data}, data={"budget_ms": "1000"}).json()
    in_base64 = {"image": base64.b64encode(data).decode(), **BUDGET}
    second = in_full(client, "/classify_image", json=in_base64).json()
    assert (first["cached"], second["cached"], second["scores"]) == (False, True, first["scores"])


def test_every_request_counts_a_kept_one_too(client: httpx.Client) -> None:
    body = {"text": "why is there a fee for this", **BUDGET}
    in_full(client, "/classify_text", json=body)
    names = ("sieve_requests_total", "sieve_answers_total", "sieve_latency_seconds_count")
    before = [counted(client, name) for name in names]
    for _ in range(5):
        assert client.post("/classify_text", json=body).json()["cached"]
    assert [counted(client, name) - was for name, was in zip(names, before, strict=True)] == [5, 5, 5]
    held, limit = (counted(client, f"sieve_cache_{name}") for name in ("bytes", "limit_bytes"))
    assert 0 < held < limit == 1_000_000


def test_without_the_setting_an_answer_is_what_it_was(server: Server) -> None:
    body = {"text": "my card was declined in Lisbon", **BUDGET}
    with server.client() as client:
        for _ in range(2):
            answer = in_full(client, "/classify_text", json=body).json()
            assert "cached" not in answer
            assert "cache" not in answer["timings_ms"]
