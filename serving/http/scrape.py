"""GET /metrics."""

from __future__ import annotations

from typing import Protocol

from starlette.requests import Request
from starlette.responses import Response

from serving.http.fast_path import Endpoint


class Exposed(Protocol):
    """Metrics that can be written out."""

    def exposition(self) -> tuple[bytes, str]:
        """The metrics in Prometheus's text format, and the content type of that format."""
        ...


def metrics_endpoint(metrics: Exposed) -> Endpoint:
    """An endpoint that answers with the current `metrics`."""

    async def scrape(_request: Request) -> Response:
        body, content_type = metrics.exposition()
        return Response(body, headers={"Content-Type": content_type})

    return scrape
