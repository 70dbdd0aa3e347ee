"""Memory of models that are opened and closed in threads, measured in a process that does nothing else."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
import time

import pytest

from serving.heap import in_one_heap, in_one_heap_now
from tests.conftest import ROOT

SCRIPT = """
import sys, threading
from contextlib import nullcontext
import psutil
from serving.heap import give_back, mapped_apart
apart = sys.argv[1] == "apart"
held = [b"x" * 33_000_000]  # as glibc frees it, it takes larger blocks into its heaps from now on
del held

def model():
    with mapped_apart() if apart else nullcontext():
        # Between the large blocks lie small ones, which stay.
        models.append([bytes(1_000_000 + place) for place in range(60)])
        kept.append([bytes(5_000 + place) for place in range(60)])

models, kept, after = [], [], []
for _ in range(8):
    thread = threading.Thread(target=model)
    thread.start()
    thread.join()
    del models[:-1]
    if apart:
        give_back()
    after.append(psutil.Process().memory_info().rss)
print(max(after[1:]) - min(after[1:]))
"""


def spread_bytes(way: str) -> int:
    line = [sys.executable, "-c", SCRIPT, way]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other C libraries have other heaps")
def test_what_a_model_took_goes_back_when_it_is_gone() -> None:
    assert spread_bytes("apart") < 10_000_000


def test_models_are_opened_in_one_thread_whatever_else_is_at_work() -> None:
    def opened(*, takes_s: float) -> tuple[int, float, float]:
        begin_s = time.monotonic()
        time.sleep(takes_s)
        return threading.get_ident(), begin_s, time.monotonic()

    async def work() -> list[tuple[int, float, float]]:
        busy = [asyncio.to_thread(time.sleep, 0.05) for _ in range(3)]
        found = await asyncio.gather(*(in_one_heap(opened, takes_s=0.02) for _ in range(4)))
        await asyncio.gather(*busy)
        return found

    found = [in_one_heap_now(opened, takes_s=0.0), *asyncio.run(work())]
    threads = {thread for thread, _, _ in found}
    assert len(threads) == 1
    assert threading.get_ident() not in threads
    assert all(before[2] <= after[1] for before, after in itertools.pairwise(found)), "one after the other"
    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(in_one_heap(int, "damaged"))
    with pytest.raises(ValueError, match="invalid literal"):
        in_one_heap_now(int, "damaged")
