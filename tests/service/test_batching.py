"""The batching conformance suite: whatever goes together on the way to an expert, everybody gets what is theirs.

All against the served process.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.artifacts import prefer_int8
from tests.conftest import ROOT, TinyCascades, messages
from tests.server import LIMIT_S, PATIENT_MS, TINY, Server, in_full, in_full_async, serve
from tests.service.test_api import Reference, digit
from tests.service.test_degraded import TEXT_ONLY, with_point

TEXTS = [text for text, _ in messages(200, seed=77)]
CLIENTS = 64


@pytest.fixture(scope="module")
def right(tiny_cascades: TinyCascades) -> dict[str, str]:
    """The expert's label of each text, computed in this process, alone."""
    reference = Reference(tiny_cascades, "tiny-text")
    return {text: reference.answer("expert", text).label for text in TEXTS}


def sizes(server: Server) -> Counter[str]:
    """How many batches the experts of both modalities have run, by upper bound of their size; and `count` and `sum`."""
    found: Counter[str] = Counter()
    for line in httpx.get(f"{server.url}/metrics").text.splitlines():
        match = re.match(r"sieve_expert_batch_size_(bucket|count|sum)\{(.*)\} (\S+)", line)
        if match:
            bound = re.search(r'le="(.+?)"', match[2])
            found[f"le {bound[1]}" if bound else match[1]] += int(float(match[3]))
    return found


@dataclass(frozen=True)
class Answered:
    """One of the texts that were asked at once. `answer` is None where the client hung up."""

    text: str
    number: int
    answer: dict[str, Any] | None

    def in_full(self) -> bool:
        return self.answer is None or ("label" in self.answer and self.answer["degraded"] is None)


Ask = Callable[[httpx.AsyncClient, str, int], Awaitable[dict[str, Any] | None]]


async def patient(client: httpx.AsyncClient, text: str, _: int) -> dict[str, Any]:
    return dict((await client.post("/classify_text", json={"text": text, "budget_ms": PATIENT_MS})).json())


def rounds(
    server: Server,
    texts: Sequence[str],
    ask: Ask = patient,
    *,
    at_once: int = CLIENTS,
    right: Callable[[Answered], bool] = Answered.in_full,
) -> Iterator[tuple[list[Answered], Counter[str]]]:
    """Texts that are asked at once, with the batches that the experts ran meanwhile; all answers are `right`.

    Where one is not, those texts are asked again, fewer at once: a machine that is busy with other work may be too slow
    for many. It is never quick enough for a service that gives a wrong answer each time.
    """
    least, end_s, begin = min(4, at_once), time.monotonic() + LIMIT_S, 0
    while begin < len(texts):
        numbered = list(enumerate(texts))[begin : begin + at_once]
        before = sizes(server)
        answers = asyncio.run(all_at_once(server, numbered, ask))
        if all(right(answer) for answer in answers):
            yield answers, sizes(server) - before
            begin += at_once
            end_s = time.monotonic() + LIMIT_S
        else:
            assert time.monotonic() < end_s, [answer for answer in answers if not right(answer)]
            at_once = max(least, at_once // 2)
            wait_until_idle(server)


def wait_until_idle(server: Server) -> None:
    """Until the experts have run what came too late for its answer."""
    seen = None
    while seen != (seen := sizes(server)):
        time.sleep(1)


async def all_at_once(server: Server, numbered: list[tuple[int, str]], ask: Ask) -> list[Answered]:
    async with server.async_client(CLIENTS) as client:
        answers = await asyncio.gather(*(ask(client, text, number) for number, text in numbered))
    return [Answered(text, number, answer) for (number, text), answer in zip(numbered, answers, strict=True)]


def test_ten_thousand_requests_of_many_kinds_get_their_own_answers(server: Server, tiny_cascades: TinyCascades) -> None:
    references = {name: Reference(tiny_cascades, f"tiny-{name}") for name in ("text", "image")}
    digits = [digit(index) for index in range(20)]
    seen: dict[Any, list[dict[str, Any]]] = {}
    statuses: Counter[int] = Counter()

    async def one_client(number: int, client: httpx.AsyncClient) -> None:
        rng = random.Random(number)
        for turn in range(10_000 // CLIENTS + 1):
            kind = rng.choice(["text", "text", "texts", "image", "bad"])
            ids = {"X-Request-Id": f"{number}-{turn}"}
            if kind == "text":
                text = rng.choice(TEXTS)
                sent = {"text": text, "budget_ms": PATIENT_MS}
                reply = await in_full_async(client, "/classify_text", json=sent, headers=ids)
                seen.setdefault(text, []).append(reply.json())
            elif kind == "texts":
                some = rng.choices(TEXTS, k=3)
                sent = {"texts": [some[0], "", *some[1:]], "budget_ms": PATIENT_MS}
                reply = await in_full_async(client, "/classify_texts", json=sent, headers=ids)
                first, empty, *others = reply.json()["answers"]
                assert empty["error"]["field"] == "texts[1]"
                for text, answer in zip(some, [first, *others], strict=True):
                    seen.setdefault(text, []).append(answer)
            elif kind == "image":
                place = rng.randrange(len(digits))
                form = {"budget_ms": str(PATIENT_MS)}
                files = {"image": digits[place]}
                reply = await in_full_async(client, "/classify_image", files=files, data=form, headers=ids)
                seen.setdefault(place, []).append(reply.json())
            else:
                reply = await in_full_async(client, "/classify_text", json={"text": 5}, headers=ids)
                assert reply.json()["error"]["field"] == "text"
            assert reply.json()["request_id"] == f"{number}-{turn}"
            statuses[reply.status_code] += 1

    async def all_clients() -> None:
        async with AsyncExitStack() as stack:
            # A client for each: for every request, httpx looks at all the connections of its client.
            clients = [await stack.enter_async_context(server.async_client(1)) for _ in range(CLIENTS)]
            await asyncio.gather(*itertools.starmap(one_client, enumerate(clients)))

    asyncio.run(all_clients())
    assert statuses.total() >= 10_000
    assert set(statuses) == {200, 422}
    for content, answers in seen.items():
        reference = references["text" if isinstance(content, str) else "image"]
        for answer in answers[:5]:
            reference.check(content if isinstance(content, str) else digits[content], answer)
        assert len({answer["label"] for answer in answers if answer["stage"] == "screen"}) <= 1
    got = sizes(server)
    assert got["le 32.0"] == got["count"], "no batch is larger than it may be"


@pytest.mark.parametrize("stage", ["screen", "expert"])
def test_an_answer_does_not_depend_on_its_company(tiny_cascades: TinyCascades, tmp_path: Path, stage: str) -> None:
    """Texts of all lengths in lists, on dynamic INT8: labels and scores are those of each text alone."""
    home = with_point(tiny_cascades, tmp_path / "home", threshold=1.1 if stage == "expert" else 0.0)
    for role in ("screen", "expert"):
        prefer_int8(home / "models", "tiny-text", role)
    mixed = [text * (1 + place % 5) for place, text in enumerate(TEXTS)]
    with serve(*TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as server, server.client() as client:

        def answers(size: int) -> list[dict[str, Any]]:
            lists = [mixed[start : start + size] for start in range(0, len(mixed), size)]
            sent = [{"texts": some, "budget_ms": PATIENT_MS} for some in lists]
            replies = [in_full(client, "/classify_texts", json=each).json() for each in sent]
            return [answer for reply in replies for answer in reply["answers"]]

        alone = answers(1)
        described = client.get("/models").json()["text"]
        assert described[stage]["execution_provider"]["variant"] == "cpu-int8"
        for size in (2, 16, 64):
            for got, want in zip(answers(size), alone, strict=True):
                assert (got["stage"], got["label"]) == (stage, want["label"])
                np.testing.assert_allclose(list(got["scores"].values()), list(want["scores"].values()), atol=1e-4)


def test_a_lone_request_goes_alone(always: Server) -> None:
    for (one,), ran in rounds(always, TEXTS[:20], at_once=1):
        assert one.answer is not None
        assert one.answer["stage"] == "expert"
        assert ran["count"] == ran["sum"] == 1


def test_requests_that_come_together_go_together(always: Server, right: dict[str, str]) -> None:
    batches, labels = 0, []
    for answers, ran in rounds(always, TEXTS):
        assert ran["sum"] == len(answers)
        batches += ran["count"]
        labels += [(each.answer["label"], right[each.text]) for each in answers if each.answer]
    assert len(labels) == len(TEXTS)
    assert batches < len(TEXTS)
    assert all(got == expected for got, expected in labels)


def test_deadlines_and_ids_survive_batching(always: Server, right: dict[str, str]) -> None:
    def hurried(number: int) -> bool:
        return number % 3 == 0

    async def ask(client: httpx.AsyncClient, text: str, number: int) -> dict[str, Any]:
        headers = {"X-Request-Id": f"n{number}", "X-Budget-Ms": "0.01" if hurried(number) else str(PATIENT_MS)}
        answer = (await client.post("/classify_text", json={"text": text}, headers=headers)).json()
        assert answer["request_id"] == f"n{number}"
        return dict(answer)

    def right_deadline(each: Answered) -> bool:
        if each.answer is None:
            return False
        if hurried(each.number) and "error" in each.answer:  # others were ahead of it, so it was refused
            return bool(each.answer["error"]["reason"] == "overloaded")
        return "label" in each.answer and each.answer["degraded"] == ("deadline" if hurried(each.number) else None)

    labels = []
    for answers, _ in rounds(always, TEXTS, ask, right=right_deadline):
        for each in answers:
            assert each.answer is not None
            if hurried(each.number):
                assert each.answer.get("stage", "screen") == "screen"
            else:
                assert each.answer["stage"] == "expert"
                labels.append((each.answer["label"], right[each.text]))
    assert all(got == expected for got, expected in labels)


def test_those_that_hang_up_take_nobody_with_them(always: Server, right: dict[str, str]) -> None:
    async def ask(client: httpx.AsyncClient, text: str, number: int) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(0.002 * (number % 5 + 1) if number % 2 else None):
                return await patient(client, text, number)
        except TimeoutError:
            return None

    labels = []
    for answers, _ in rounds(always, TEXTS, ask):
        assert all(each.answer is not None for each in answers if each.number % 2 == 0)
        labels += [(each.answer["label"], right[each.text]) for each in answers if each.answer]
    assert all(got == expected for got, expected in labels)
    # And the service is as it was.
    for answers, _ in rounds(always, TEXTS[:40]):
        assert all(each.answer and each.answer["stage"] == "expert" for each in answers)


def test_a_largest_batch_of_one_works(tiny_cascades: TinyCascades, right: dict[str, str], tmp_path: Path) -> None:
    home = with_point(tiny_cascades, tmp_path / "home", threshold=1.1)
    settings = tmp_path / "settings.toml"
    settings.write_text("workers = 1\nmax_batch_size = 1\n")
    with serve(*TINY, "--arg", f"settings={settings}", home=home, folder=ROOT, log=tmp_path / "log") as server:
        asked = [each for answers, _ in rounds(server, TEXTS[:100]) for each in answers]
        got = sizes(server)
    assert got["count"] == got["sum"]
    labels = [each.answer["label"] for each in asked if each.answer]
    assert labels == [right[text] for text in TEXTS[:100]], "each went alone"
