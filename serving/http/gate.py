"""Who may ask: looks at the key, its right and its rate, and at the rate of an address, before anything else is done.

It stands inside CORS, so that a page may read its refusals, and in front of everything else. Where neither keys nor a
rate of addresses are set it does not stand there at all.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from serving.errors import KeyMissingError, RightMissingError, SieveError, TooOftenError
from serving.http.guard import problem, request_id_of, status_of, to_json
from serving.http.keys import NOBODY, SCOPE_KEY, Key, KeysFile, Right
from serving.http.nowhere import has_sentences
from serving.load.rate import RateByAddress

LOOK_S = 1.0
HEALTH = frozenset(("/livez", "/readyz", "/healthz", "/v2/health/live", "/v2/health/ready"))
MODEL_READY = re.compile(r"/v2/models/[^/]+(/versions/[^/]+)?/ready")
# A browser sends no key for these, and they hold nothing but the page itself.
PAGES, PAGE_FILES = frozenset(("/", "/reference")), "/page/"

KeyOutcome = Literal["taken", "unknown", "missing", "no-right", "too-often", "address"]
"""What became of a request at the gate, as metrics count it."""
Count = Callable[[str, KeyOutcome], None]
"""Counts a request by the name of its key."""


class Gate:
    """Lets requests in that bring a key of `keys` with the right that their address needs, as often as they may.

    Without `keys` everybody has every right. `addresses` limits how often each address may ask. `count` is told of each
    request but those that all may send.
    """

    def __init__(
        self,
        keys: KeysFile | None = None,
        addresses: RateByAddress | None = None,
        count: Count = lambda _key, _outcome: None,
    ) -> None:
        self.keys, self._addresses, self._count = keys, addresses, count

    @property
    def stands(self) -> bool:
        """Whether there is anything to look at."""
        return self.keys is not None or self._addresses is not None

    def around(self, app: ASGIApp) -> ASGIApp:
        """`app` behind this gate, or `app` itself."""
        return Gated(app, self) if self.stands else app

    def admit(self, right: Right | None, headers: Sequence[tuple[bytes, bytes]], client: str) -> Key | None:
        """The key of a request from `client` with these headers; None where there are no keys.

        Raises TooOftenError, KeyMissingError if it brings no key that is known, and RightMissingError if the key lacks
        the `right` that its address needs.
        """
        now_s = time.monotonic()
        if self._addresses is not None:
            wait_s = self._addresses.take(client, now_s)
            if wait_s:
                self._count(NOBODY, "address")
                raise too_often("this address", wait_s)
        if self.keys is None:
            return None
        key = self._known(headers)
        if right is not None and right not in key.rights:
            self._count(key.name, "no-right")
            raise RightMissingError(right)
        wait_s = key.rate.take(now_s) if key.rate is not None else 0.0
        if wait_s:
            self._count(key.name, "too-often")
            raise too_often("this key", wait_s)
        self._count(key.name, "taken")
        return key

    def _known(self, headers: Sequence[tuple[bytes, bytes]]) -> Key:
        assert self.keys is not None, "asked only where there are keys"
        sent = sent_key(dict(reversed(headers)))  # of several headers the first counts
        key = self.keys.find(sent) if sent else None
        if key is None:
            self._count(NOBODY, "unknown" if sent else "missing")
            raise KeyMissingError(
                f"X-API-Key: must be a key of this service, got {'another value' if sent else 'no such header'}; send "
                "it as `X-API-Key: KEY` or `Authorization: Bearer KEY`"
            )
        return key

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look once a second whether the keys have changed, for as long as the block runs."""
        if self.keys is None:
            yield
            return
        task = asyncio.get_running_loop().create_task(self._follow(self.keys))
        try:
            yield
        finally:
            task.cancel()

    @staticmethod
    async def _follow(keys: KeysFile) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            keys.look()


OPEN = Gate()


class Gated:
    """ASGI middleware: the application behind a gate."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]):
            client = scope.get("client")
            try:
                right = right_for(scope["method"], scope["path"])
                key = self._gate.admit(right, scope["headers"], client[0] if client else "")
            except SieveError as error:
                return await refusal(Request(scope), error)(scope, receive, send)
            if key is not None:
                scope[SCOPE_KEY] = key
        await self._app(scope, receive, send)


def is_open(path: str) -> bool:
    """Whether an address needs no key: those of health, and the files of the page."""
    return path in HEALTH or path in PAGES or path.startswith(PAGE_FILES) or MODEL_READY.fullmatch(path) is not None


def right_for(method: str, path: str) -> Right | None:
    """The right that an address needs; None where any key will do."""
    if path == "/metrics":
        return "metrics"
    if path.startswith("/admin/"):
        return "admin"
    if method == "POST":
        return "feedback" if path == "/feedback" else "classify"
    return None


def sent_key(headers: Mapping[bytes, bytes]) -> str:
    """The key that a request brings, empty if it brings none. X-API-Key comes before Authorization."""
    sent = headers.get(b"x-api-key")
    if sent is None:
        scheme, _, sent = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() != b"bearer":
            return ""
    return sent.strip().decode("latin-1")


def too_often(who: str, wait_s: float) -> TooOftenError:
    """The error for a request that comes before its turn."""
    return TooOftenError(
        f"{who} has sent more requests a second than it may; come back after a while", max(1, math.ceil(wait_s))
    )


def refusal(request: Request, error: SieveError) -> Response:
    """An error of the gate, as the protocol of the address writes errors."""
    request_id, status = request_id_of(request), status_of(error)
    headers = {"X-Request-Id": request_id}
    if isinstance(error, KeyMissingError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooOftenError):
        headers["Retry-After"] = str(error.retry_after_s)
    message = str(error)
    body = {"error": message} if has_sentences(request.scope["path"]) else problem(message, request_id)
    return to_json(body, status, headers)
