"""The way to an expert's process: one POST of raw arrays over its socket."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlparse

import aiohttp
import numpy as np
from numpy.typing import NDArray

from serving.errors import MalformedError, StageDownError, StageError, StageRefusedError
from serving.expert_app import TOOK_HEADER
from serving.wire import pack, unpack

Array = NDArray[Any]
Logits = NDArray[np.float32]
# Shorter than the server's 5 seconds, so that the two do not meet when a connection is given up.
KEEP_ALIVE_S = 4.0
OK, UNAVAILABLE = 200, 503

logger = logging.getLogger("sieve")


class RemoteExpert:
    """An expert behind `serving.expert_app`, at a URL as BentoML gives it: file:///path/to/socket, tcp:// or http://.

    A call whose connection broke is made once more: it changes nothing in the expert, so twice does no harm.
    """

    def __init__(self, url: str, tag: str) -> None:
        self._url, self._tag = url, tag
        self._session: aiohttp.ClientSession | None = None
        self._up = True

    async def __call__(self, items: Sequence[Array]) -> tuple[Logits, float]:
        """Prepared items -> logits [items, labels] and the milliseconds of the expert's own session."""
        message = pack(items)
        try:
            try:
                answer = await self._post(message)
            except aiohttp.ClientConnectionError:
                answer = await self._post(message)
        except (StageError, aiohttp.ClientError, OSError, MalformedError) as error:
            if isinstance(error, StageRefusedError):
                raise
            # Once for each outage: under load it would fill the log.
            if self._up:
                logger.warning("%s does not answer, its screen answers alone: %r", self._tag, error)
            self._up = False
            raise StageDownError(f"{type(error).__name__}: {error}") from None
        if not self._up:
            logger.warning("%s answers again", self._tag)
        self._up = True
        return answer

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def _post(self, message: bytes) -> tuple[Logits, float]:
        async with self._opened().post("/infer", data=message) as reply:
            body = await reply.read()
            if reply.status == UNAVAILABLE:
                raise StageRefusedError("the expert is overloaded")
            if reply.status != OK:
                raise StageDownError(f"the expert answered with status {reply.status}")
            (logits,) = unpack(body)
            return logits, float(reply.headers[TOOK_HEADER])

    def _opened(self) -> aiohttp.ClientSession:
        """The session, made in the event loop that uses it."""
        if self._session is None:
            place = urlparse(self._url)
            if place.scheme == "file":
                connector: aiohttp.BaseConnector = aiohttp.UnixConnector(
                    unquote(place.path), keepalive_timeout=KEEP_ALIVE_S
                )
                base = "http://expert"
            else:
                connector = aiohttp.TCPConnector(keepalive_timeout=KEEP_ALIVE_S)
                base = f"http://{place.netloc}"
            self._session = aiohttp.ClientSession(base, connector=connector, auto_decompress=False)
        return self._session
