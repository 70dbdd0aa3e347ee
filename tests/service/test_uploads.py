"""Uploads: many large ones in little memory, and slow ones that keep nobody out."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import httpx
import pytest

from tests.conftest import ROOT, TinyCascades
from tests.server import PATIENT_MS, TINY, Server, serve
from tests.service.test_api import digit
from tests.serving.model.test_image import encoded, largest, noise

GIBIBYTE_KIB = 1 << 20
PNG = {"Content-Type": "image/png"}
# The kernel refuses each process of this server more than a gibibyte of data (RLIMIT_DATA).
CONFINED = ("sh", "-c", f'ulimit -d {GIBIBYTE_KIB} && exec "$@"', "sh")


@pytest.fixture(scope="module")
def confined(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    log = tmp_path_factory.mktemp("confined") / "log"
    settings = log.with_name("settings.toml")
    settings.write_text('workers = 1\nimage_formats = ["png", "avif"]\n')
    with serve(
        *TINY, "--arg", f"settings={settings}", home=tiny_cascades.home, folder=ROOT, log=log, before=CONFINED
    ) as running:
        yield running


@pytest.mark.parametrize("budget_ms", [50, 1000])
def test_many_large_uploads_at_once_are_answered_or_shed_in_a_gibibyte(confined: Server, budget_ms: int) -> None:
    api, image = confined.worker("sieve"), largest()

    async def all_at_once() -> list[httpx.Response]:
        async with confined.async_client(200) as client:
            path = f"/classify_image?budget_ms={budget_ms}"
            return await asyncio.gather(*(client.post(path, content=image, headers=PNG) for _ in range(200)))

    replies = asyncio.run(all_at_once())
    statuses = Counter(reply.status_code for reply in replies)
    assert set(statuses) <= {200, 503}, statuses
    # A slow machine cannot decode even one of them in 50 ms.
    assert statuses[503]
    assert statuses[200] or budget_ms == 50
    assert confined.worker("sieve") == api, "the process was not replaced"
    assert peak_kib(api) < GIBIBYTE_KIB
    with confined.client() as client:
        assert client.post("/classify_image", content=digit(1), headers=PNG).status_code == 200


@pytest.mark.parametrize("form", [False, True], ids=["raw", "form"])
def test_many_bodies_of_ten_megabytes_at_once_take_no_more(confined: Server, form: bool) -> None:
    api, body = confined.worker("sieve"), bytes(9_900_000)
    sent: dict[str, Any] = {"files": {"image": body}} if form else {"content": body, "headers": PNG}

    async def all_at_once() -> list[httpx.Response]:
        async with confined.async_client(115) as client:
            return await asyncio.gather(*(client.post("/classify_image", **sent) for _ in range(115)))

    statuses = Counter(reply.status_code for reply in asyncio.run(all_at_once()))
    assert set(statuses) <= {422, 503, 408}, "they are no images; on a busy machine they may take too long"
    assert peak_kib(api) < GIBIBYTE_KIB


def test_the_formats_are_those_of_the_settings(confined: Server) -> None:
    with confined.client() as client:
        statuses = {
            kind: client.post("/classify_image", content=encoded(noise(8, 8), kind), headers=PNG).status_code
            for kind in ("PNG", "AVIF", "JPEG", "WEBP")
        }
    assert statuses == {"PNG": 200, "AVIF": 200, "JPEG": 422, "WEBP": 422}


def peak_kib(process: int) -> int:
    """The most memory that a process has had."""
    (peak,) = re.findall(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    return int(peak)


def test_clients_that_drip_and_uploads_that_are_slow_keep_nobody_out(confined: Server) -> None:
    place, image = urlparse(confined.url), digit(1)

    async def connect(path: str, kind: str, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        writer.write(head.encode())
        return reader, writer

    async def drip(end: asyncio.Event) -> None:
        _, writer = await connect("/classify_text", "application/json", 1000)
        while not end.is_set():
            writer.write(b" ")
            await asyncio.sleep(0.1)
        writer.close()

    async def upload(answered: asyncio.Event) -> int:
        """Send a part of an image, and the rest when others have been answered, after more than the budget."""
        reader, writer = await connect(f"/classify_image?budget_ms={PATIENT_MS}", "image/png", len(image))
        writer.write(image[:50])
        await answered.wait()
        writer.write(image[50:])
        status = (await reader.readline()).split()[1]
        writer.close()
        return int(status)

    async def main() -> tuple[list[int], list[int]]:
        end, answered = asyncio.Event(), asyncio.Event()
        dripping = [asyncio.create_task(drip(end)) for _ in range(300)]
        # The slow uploads come last: of more than 256 bodies the slowest are given up.
        await asyncio.sleep(1)
        slow = [asyncio.create_task(upload(answered)) for _ in range(25)]
        await asyncio.sleep(1)
        async with confined.async_client(4) as client:
            good = []
            for _ in range(20):
                good.append(await client.post("/classify_text", json={"text": "hello", "budget_ms": PATIENT_MS}))
                path = f"/classify_image?budget_ms={PATIENT_MS}"
                good.append(await client.post(path, content=image, headers=PNG))
            metrics = (await client.get("/metrics")).text
        answered.set()
        late = await asyncio.gather(*slow)
        end.set()
        await asyncio.gather(*dripping)
        (in_flight,) = re.findall(r"^sieve_in_flight (\S+)$", metrics, re.MULTILINE)
        assert float(in_flight) <= 2
        assert not re.findall(r'^sieve_shed_total{.*reason="(limit|reserved)"', metrics, re.MULTILINE)
        return [reply.status_code for reply in good], late

    good, late = asyncio.run(main())
    assert good == [200] * 40
    assert late == [200] * 25, "a client's slow line is no reason to refuse it"
