"""GET /metrics."""

from __future__ import annotations

from serving.http.scrape import metrics_endpoint
from tests.serving.asgi import get, routed


class Numbered:
    """Metrics that say how often they were written out."""

    times = 0

    def exposition(self) -> tuple[bytes, str]:
        self.times += 1
        return f"times {self.times}\n".encode(), "text/plain; version=1.0.0; charset=utf-8"


def test_each_scrape_gets_the_metrics_of_that_moment() -> None:
    app = routed({"/metrics": "GET"}, {"/metrics": metrics_endpoint(Numbered())})
    first, second = get(app, "/metrics"), get(app, "/metrics")
    assert (first.text, second.text) == ("times 1\n", "times 2\n")
    assert first.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
