"""An expert's process that stands still for seconds, while callers come and go."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from serving.expert.client import RemoteExpert
from serving.model.artifact import Artifact
from tests.conftest import ROOT, TinyCascades
from tests.server import Server, serve
from tests.service.test_degraded import TEXT_ONLY, with_point

ITEM = np.array([1, 2, 3, 4])


@pytest.fixture
def expert(tiny_cascades: TinyCascades, tmp_path: Path) -> Iterator[Server]:
    home = with_point(tiny_cascades, tmp_path / "home")
    with serve("service:TextExpert", *TEXT_ONLY, home=home, folder=ROOT, log=tmp_path / "log") as running:
        yield running


def client(server: Server, cascades: TinyCascades) -> RemoteExpert:
    artifact = Artifact.open(cascades.artifact("tiny-text", "expert"))
    return RemoteExpert(server.url, "an-expert", artifact.digest)


def workers(server: Server) -> list[psutil.Process]:
    """The server and all its processes."""
    process = psutil.Process(server.process.pid)
    return [process, *process.children(recursive=True)]


async def runs(server: Server, least: int) -> int:
    """How many runs the expert has made, once there are so many."""
    async with httpx.AsyncClient(base_url=server.url) as asked:
        while True:
            text = (await asked.get("/metrics")).text
            found = re.search(r"^sieve_expert_batch_size_count\{.*\} (\S+)", text, re.MULTILINE)
            if found and float(found[1]) >= least:
                await asyncio.sleep(1.0)  # counts reach the metrics within half a second
                text = (await asked.get("/metrics")).text
                return int(float(re.findall(r"^sieve_expert_batch_size_count\{.*\} (\S+)", text, re.MULTILINE)[0]))
            await asyncio.sleep(0.1)


def test_when_it_goes_on_it_answers_the_live_call_and_none_of_those_that_were_given_up(
    expert: Server, tiny_cascades: TinyCascades
) -> None:
    async def main() -> None:
        remote = client(expert, tiny_cascades)
        await remote([ITEM])
        before = await runs(expert, 1)
        stopped = workers(expert)
        for process in stopped:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            for size in [1] * 12 + [8] * 12:
                with pytest.raises(TimeoutError):
                    # Its connection is closed when the time is over.
                    await asyncio.wait_for(remote([ITEM] * size, None, 60_000.0), 0.1)
            live = asyncio.ensure_future(remote([ITEM] * 2, None, 60_000.0))
            await asyncio.sleep(0.1)
        finally:
            for process in stopped:
                os.kill(process.pid, signal.SIGCONT)
        assert (await live).logits.shape[0] == 2
        assert await runs(expert, before + 1) == before + 1
        await remote.close()

    asyncio.run(main())
