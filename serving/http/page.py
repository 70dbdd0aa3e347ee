"""The page at `/` on which people try the service, and the API reference at `/reference`; both load nothing elsewhere.

The page's own files lie in serving/page. The reference is rendered from /docs.json by Swagger UI, whose files come with
a package that is installed anyway; whoever starts the service says where they lie.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FILES = Path(__file__).parent.parent / "page"
POLICY = "default-src 'self'; {images}object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
HEADERS = {
    "Content-Security-Policy": POLICY.format(images=""),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    # Answered with 304 as long as the files are the same.
    "Cache-Control": "no-cache",
}
# Swagger UI's arrows are pictures inside its style sheet.
REFERENCE_HEADERS = {**HEADERS, "Content-Security-Policy": POLICY.format(images="img-src 'self' data:; ")}


class PageFiles(StaticFiles):
    """The files of the page, and those of Swagger UI in the folder `viewer`."""

    def __init__(self, viewer: Path) -> None:
        super().__init__(directory=FILES)
        self.all_directories = [FILES, viewer]

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file with its ETag, or 304 where the client has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response

    async def document(self, name: str, request: Request, headers: Mapping[str, str] = HEADERS) -> Response:
        """One of the HTML documents."""
        response = await self.get_response(name, request.scope)
        response.headers.update(headers)
        return response


def page_routes(viewer: Path) -> list[BaseRoute]:
    """The routes of the page and the reference. `viewer`: the folder of Swagger UI's files."""
    files = PageFiles(viewer)

    async def index(request: Request) -> Response:
        return await files.document("index.html", request)

    async def reference(request: Request) -> Response:
        return await files.document("reference.html", request, REFERENCE_HEADERS)

    return [Route("/", index), Route("/reference", reference), Mount("/page", files)]
