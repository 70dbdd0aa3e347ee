"""The batching conformance suite: whatever goes together on the way to an expert, everybody gets what is theirs.

All against the served process.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ROOT, TinyCascades, messages
from tests.server import TINY, Server, serve
from tests.service.test_api import PATIENT_MS, Reference, digit
from tests.service.test_degraded import with_point

TEXTS = [text for text, _ in messages(200, seed=77)]
CLIENTS = 64


@pytest.fixture(scope="module")
def always(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose text screen never trusts itself: every text goes to the expert."""
    folder = tmp_path_factory.mktemp("always")
    home = with_point(tiny_cascades, folder, threshold=1.1)
    with serve(*TINY, home=home, folder=ROOT, log=folder / "log") as running:
        yield running


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


def agreement(pairs: list[tuple[str, str]]) -> float:
    return sum(one == other for one, other in pairs) / len(pairs)


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
                reply = await client.post("/classify_text", json=sent, headers=ids)
                seen.setdefault(text, []).append(reply.json())
            elif kind == "texts":
                some = rng.choices(TEXTS, k=3)
                sent = {"texts": [some[0], "", *some[1:]], "budget_ms": PATIENT_MS}
                reply = await client.post("/classify_texts", json=sent, headers=ids)
                first, empty, *others = reply.json()["answers"]
                assert empty["error"]["field"] == "texts[1]"
                for text, answer in zip(some, [first, *others], strict=True):
                    seen.setdefault(text, []).append(answer)
            elif kind == "image":
                place = rng.randrange(len(digits))
                form = {"budget_ms": str(PATIENT_MS)}
                reply = await client.post("/classify_image", files={"image": digits[place]}, data=form, headers=ids)
                seen.setdefault(place, []).append(reply.json())
            else:
                reply = await client.post("/classify_text", json={"text": 5}, headers=ids)
                assert reply.json()["error"]["field"] == "text"
            assert reply.json()["request_id"] == f"{number}-{turn}"
            statuses[reply.status_code] += 1

    async def all_clients() -> None:
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:
            await asyncio.gather(*(one_client(number, client) for number in range(CLIENTS)))

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


def test_a_lone_request_goes_alone(always: Server) -> None:
    before = sizes(always)
    with always.client() as client:
        for text in TEXTS[:20]:
            assert (
                client.post("/classify_text", json={"text": text, "budget_ms": PATIENT_MS}).json()["stage"] == "expert"
            )
    after = sizes(always)
    assert after["count"] - before["count"] == after["sum"] - before["sum"] == 20


def test_requests_that_come_together_go_together(always: Server, right: dict[str, str]) -> None:
    before = sizes(always)
    pairs = asyncio.run(ask_together(always, TEXTS, PATIENT_MS))
    after = sizes(always)
    assert after["sum"] - before["sum"] == len(TEXTS)
    assert after["count"] - before["count"] < len(TEXTS)
    # Dynamic INT8 takes its ranges from the whole batch, so a text on the brink may tip over in company.
    assert agreement([(answer["label"], right[text]) for text, answer in pairs]) > 0.97


async def ask_together(server: Server, texts: list[str], budget_ms: float) -> list[tuple[str, dict[str, Any]]]:
    limits = httpx.Limits(max_connections=CLIENTS)
    async with httpx.AsyncClient(base_url=server.url, limits=limits, timeout=60) as client:

        async def ask(text: str) -> tuple[str, dict[str, Any]]:
            return text, (await client.post("/classify_text", json={"text": text, "budget_ms": budget_ms})).json()

        return list(await asyncio.gather(*(ask(text) for text in texts)))


def test_deadlines_and_ids_survive_batching(always: Server, right: dict[str, str]) -> None:
    async def main() -> list[tuple[str, bool, dict[str, Any]]]:
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=always.url, limits=limits, timeout=60) as client:

            async def ask(number: int, text: str) -> tuple[str, bool, dict[str, Any]]:
                hurried = number % 3 == 0
                headers = {"X-Request-Id": f"n{number}", "X-Budget-Ms": "0.01" if hurried else "1000"}
                answer = (await client.post("/classify_text", json={"text": text}, headers=headers)).json()
                assert answer["request_id"] == f"n{number}"
                return text, hurried, answer

            return list(await asyncio.gather(*(ask(n, text) for n, text in enumerate(TEXTS))))

    answers = asyncio.run(main())
    for _, hurried, answer in answers:
        assert (answer["degraded"] == "deadline") == hurried, answer
        assert answer["stage"] == ("screen" if hurried else "expert")
    assert agreement([(a["label"], right[text]) for text, hurried, a in answers if not hurried]) > 0.97


def test_those_that_hang_up_take_nobody_with_them(always: Server, right: dict[str, str]) -> None:
    async def main() -> list[tuple[str, dict[str, Any]]]:
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(base_url=always.url, limits=limits, timeout=60) as client:

            async def ask(text: str, patience_s: float | None) -> tuple[str, dict[str, Any]] | None:
                sent = {"text": text, "budget_ms": PATIENT_MS}
                try:
                    async with asyncio.timeout(patience_s):
                        return text, (await client.post("/classify_text", json=sent)).json()
                except TimeoutError:
                    return None

            patience = [0.002 * (n % 5 + 1) if n % 2 else None for n in range(len(TEXTS))]
            answers = await asyncio.gather(*(ask(text, p) for text, p in zip(TEXTS, patience, strict=True)))
            assert all(answer is not None for answer, p in zip(answers, patience, strict=True) if p is None)
            return [answer for answer in answers if answer is not None]

    answers = asyncio.run(main())
    assert agreement([(answer["label"], right[text]) for text, answer in answers]) > 0.97
    # And the service is as it was.
    again = asyncio.run(ask_together(always, TEXTS[:40], PATIENT_MS))
    assert all(answer["stage"] == "expert" for _, answer in again)


def test_a_largest_batch_of_one_works(tiny_cascades: TinyCascades, right: dict[str, str], tmp_path: Path) -> None:
    home = with_point(tiny_cascades, tmp_path / "home", threshold=1.1)
    settings = tmp_path / "settings.toml"
    settings.write_text("max_batch_size = 1\n")
    with serve(*TINY, "--arg", f"settings={settings}", home=home, folder=ROOT, log=tmp_path / "log") as server:
        pairs = asyncio.run(ask_together(server, TEXTS[:100], PATIENT_MS))
        got = sizes(server)
    assert got["count"] == got["sum"]
    assert [answer["label"] for _, answer in pairs] == [right[text] for text, _ in pairs], "each went alone"
