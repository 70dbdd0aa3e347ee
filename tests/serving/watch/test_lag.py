"""How late an event loop is."""

from __future__ import annotations

import asyncio
import time

import pytest

from serving.watch import lag as module
from serving.watch.lag import LoopLag
from tests.serving.conftest import sample

HELD_S = 0.06


def seconds(what: str, **labels: str) -> float:
    return sample(f"sieve_event_loop_lag_seconds_{what}", process="api", **labels)


def test_a_loop_that_was_held_is_late_and_others_are_not(clean_registry: None) -> None:
    async def main() -> None:
        lag = LoopLag("api")
        with lag.watching():
            await asyncio.sleep(5 * module.EVERY_S)
            lag.flush()
            before = seconds("sum")
            time.sleep(HELD_S)
            await asyncio.sleep(2 * module.EVERY_S)
            lag.flush()
        assert seconds("sum") - before >= HELD_S - module.EVERY_S - 0.002
        assert seconds("count") >= 2

    asyncio.run(main())


def test_samples_reach_the_metrics_by_themselves_and_end_with_the_block(
    clean_registry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY_S", 0.001)
    monkeypatch.setattr(module, "FLUSH_EVERY", 2)

    async def main() -> float:
        lag = LoopLag("api")
        with lag.watching():
            async with asyncio.timeout(60):
                while seconds("count") < 4:
                    await asyncio.sleep(0.001)
        at_the_end = seconds("count")
        await asyncio.sleep(0.02)
        return at_the_end

    assert asyncio.run(main()) == seconds("count")
