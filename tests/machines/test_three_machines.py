"""API and two experts, each on a machine of its own; one expert is cut off under load and comes back."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from tests.machines.conftest import PORT, started
from tests.machines.load import Load
from tests.machines.network import machines, possible

pytestmark = [
    pytest.mark.machines,
    pytest.mark.skipif(not possible(), reason="needs root that may make network namespaces, and iproute2"),
]


def test_an_expert_that_is_cut_off_degrades_its_answers_and_comes_back(bento: Path, tmp_path: Path) -> None:
    with machines(3) as (api, text, image):
        urls = {
            "SIEVE_TEXT_EXPERT_URL": f"http://{text.address}:{PORT}",
            "SIEVE_IMAGE_EXPERT_URL": f"http://{image.address}:{PORT}",
        }
        with (
            started(bento, tmp_path / "t", service="TextExpert", address=text.address, on=text.on_it),
            started(bento, tmp_path / "i", service="ImageExpert", address=image.address, on=image.on_it),
            started(bento, tmp_path / "a", address=api.address, on=api.on_it, **urls) as server,
        ):
            children = psutil.Process(server.process.pid).children(recursive=True)
            assert not any("Expert" in " ".join(child.cmdline()) for child in children), "none of its own"
            load = Load(server.url)

            async def scenario() -> None:
                async with load.running(text_clients=4, image_clients=2, budget_ms=200):
                    await load.until("text", None, 100)
                    assert set(load.seen("text")) <= {(200, "expert", None), (200, "screen", "deadline")}

                    text.cut_off()
                    load.phase()
                    await load.until("text", "down", 100)
                    await load.until("image", None, 20)
                    assert set(load.seen("image")) <= {(200, "expert", None), (200, "screen", "deadline")}, "untouched"

                    text.join()
                    load.phase()
                    await load.until("text", None, 100)

            asyncio.run(scenario())
            print(dict(load.all))
            assert not load.failures()
            said = server.log.read_text()
            assert "tiny-text-expert" in said
            assert "does not answer, its screen answers alone" in said
            assert "answers again" in said
