"""GET /metrics."""

from __future__ import annotations

import asyncio
import threading

import httpx

from serving.http.scrape import metrics_endpoint
from tests.serving.asgi import get, routed, with_client


class Numbered:
    """Metrics that say how often they were written out."""

    times = 0

    def flush(self) -> None:
        self.times += 1

    def exposition(self) -> tuple[bytes, str]:
        return f"times {self.times}\n".encode(), "text/plain; version=1.0.0; charset=utf-8"


def test_each_scrape_gets_the_metrics_of_that_moment() -> None:
    app = routed({"/metrics": "GET"}, {"/metrics": metrics_endpoint(Numbered())})
    first, second = get(app, "/metrics"), get(app, "/metrics")
    assert (first.text, second.text) == ("times 1\n", "times 2\n")
    assert first.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"


def test_the_event_loop_goes_on_while_metrics_are_written_out() -> None:
    begun, go_on = threading.Event(), threading.Event()
    at_once = 0

    class Slow(Numbered):
        def exposition(self) -> tuple[bytes, str]:
            nonlocal at_once
            at_once += 1
            begun.set()
            assert go_on.wait(60)
            assert at_once == 1, "one scrape at a time"
            at_once -= 1
            return super().exposition()

    async def scenario(client: httpx.AsyncClient) -> list[httpx.Response]:
        scrapes = [asyncio.create_task(client.get("/metrics")) for _ in range(3)]
        while not begun.is_set():
            await asyncio.sleep(0.001)
        go_on.set()
        return await asyncio.gather(*scrapes)

    replies = with_client(routed({"/metrics": "GET"}, {"/metrics": metrics_endpoint(Slow())}), scenario)
    assert [reply.status_code for reply in replies] == [200] * 3
