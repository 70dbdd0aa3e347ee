"""Reads bodies as they arrive. How many at once, how many bytes and for how long: all three are bounded.

A body holds no place in admission. When too many arrive at once, or their bytes exceed the memory for them, the slowest
is given up, so that clients that drip bytes do not keep others out.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from time import monotonic
from types import TracebackType
from typing import Literal, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from serving.errors import OverloadedError, TooLargeError, TooSlowError, WrongTypeError
from serving.http.started import Started
from serving.load.memory import MemoryLimit

# The only limit on the time of an upload: the fast path passes BentoML's timeout by.
READ_LIMIT_S = 8.0
ARRIVING_AT_ONCE = 256
# Smaller bodies are bounded by their number alone.
FREE_BYTES = 65_536
SOME_BYTES = re.compile(r"[0-9]{1,20}")

T = TypeVar("T")


class Intake:
    """The bodies that are waited for. `freed` is called when a large body is no longer held."""

    def __init__(
        self, memory: MemoryLimit, freed: Callable[[], None] = lambda: None, at_once: int = ARRIVING_AT_ONCE
    ) -> None:
        self.memory, self.freed, self._at_once = memory, freed, at_once
        self.arriving: set[Body] = set()

    def open(self, request: Request) -> Body:
        """The body of `request`, for a `with` block."""
        return Body(request, self)

    def begin(self, body: Body) -> None:
        """A body must be waited for."""
        if len(self.arriving) >= self._at_once:
            _slowest(self.arriving).give_up("reading")
        self.arriving.add(body)

    def make_room(self, body: Body) -> None:
        """Give up the slowest of the bodies that hold memory, and of `body`."""
        _slowest({body, *(each for each in self.arriving if each.held_bytes)}).give_up("memory")


def _slowest(bodies: Iterable[Body]) -> Body:
    now_s = monotonic()
    return min(bodies, key=lambda body: body.pace(now_s))


class Body:
    """The body of one request. What it holds of the memory is given back when its `with` block ends.

    `waited_s` is how long it was waited for.
    """

    __slots__ = (
        "_begin_s",
        "_copies",
        "_given_up",
        "_got_bytes",
        "_intake",
        "_time_limit",
        "held_bytes",
        "request",
        "waited_s",
    )

    def __init__(self, request: Request, intake: Intake) -> None:
        self.request, self._intake = request, intake
        self._begin_s = monotonic()
        self._copies = 1
        self._got_bytes = self.held_bytes = 0
        self.waited_s = 0.0
        self._given_up: Literal["memory", "reading"] | None = None
        self._time_limit: asyncio.Timeout | None = None

    def __enter__(self) -> Body:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.keep(0)

    async def whole(self, limit: int, field: str, copies: int = 2) -> bytes:
        """All bytes, at most `limit`. There are `copies` of them in memory until they are read.

        Raises TooLargeError if they are more, WrongTypeError if they are compressed, TooSlowError if they take longer
        than READ_LIMIT_S, OverloadedError if they are given up for others, ClientDisconnect if the client hangs up.
        """
        self._copies = copies
        self._require_stated(limit, limit, field)
        # Most bodies are there. They need no time limit, which costs as much as all else here.
        first = Started(self.request.receive())
        if first.done is None:
            return await self.in_time(self._joined(first, limit, field), field)
        piece, more = self._piece(first.done, limit, limit, field)
        return await self.in_time(self._joined(self.request.receive(), limit, field, piece), field) if more else piece

    async def pieces(self, limit: int, rule: int, field: str, copies: int) -> AsyncGenerator[bytes, None]:
        """The bytes piece by piece, at most `limit`; an error names `rule` bytes. Read them inside `in_time`."""
        self._copies = copies
        self._require_stated(limit, rule, field)
        more = True
        while more:
            piece, more = self._piece(await self._received(self.request.receive()), limit, rule, field)
            yield piece

    async def in_time(self, reading: Awaitable[T], field: str) -> T:
        """What `reading` returns, if the body has then arrived in time."""
        self._intake.begin(self)
        try:
            async with asyncio.timeout(READ_LIMIT_S) as self._time_limit:
                return await reading
        except TimeoutError:
            self._require_wanted()
            raise TooSlowError(
                field,
                f"must arrive within {READ_LIMIT_S:.0f} seconds, got a part of it; send less, or over a faster line",
            ) from None
        finally:
            self._intake.arriving.discard(self)

    def keep(self, count: int) -> None:
        """Hold `count` bytes at most from now on."""
        if self.held_bytes > count:
            self._intake.memory.give_body(self.held_bytes - count)
            self.held_bytes = count
            self._intake.freed()

    def pace(self, now_s: float) -> float:
        """Bytes a second. A body that has just begun is not slow yet."""
        return (self._got_bytes + FREE_BYTES) / (now_s - self._begin_s + 1)

    def give_up(self, reason: Literal["memory", "reading"]) -> None:
        """Stop to read, in favour of others."""
        self._given_up = reason
        self._intake.arriving.discard(self)
        self.keep(0)
        if self._time_limit is not None:
            self._time_limit.reschedule(asyncio.get_running_loop().time())

    async def _joined(self, following: Awaitable[Message], limit: int, field: str, *pieces: bytes) -> bytes:
        joined = list(pieces)
        while True:
            piece, more = self._piece(await self._received(following), limit, limit, field)
            joined.append(piece)
            if not more:
                return b"".join(joined)
            following = self.request.receive()

    async def _received(self, following: Awaitable[Message]) -> Message:
        begin_s = monotonic()
        message = await following
        self.waited_s += monotonic() - begin_s
        self._require_wanted()
        return message

    def _piece(self, message: Message, limit: int, rule: int, field: str) -> tuple[bytes, bool]:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece: bytes = message.get("body", b"")
        self._got_bytes += len(piece)
        if self._got_bytes > limit:
            raise _too_long(rule, field)
        if self._got_bytes > FREE_BYTES:
            self._hold(self._copies * self._got_bytes)
        return piece, message.get("more_body", False)

    def _hold(self, count: int) -> None:
        while not self._intake.memory.take_body(count - self.held_bytes):
            self._intake.make_room(self)
            self._require_wanted()
        self.held_bytes = count

    def _require_stated(self, limit: int, rule: int, field: str) -> None:
        headers = self.request.headers
        # A few bytes can unpack to gigabytes, and requests are small.
        if "content-encoding" in headers and headers["content-encoding"].lower() != "identity":
            raise WrongTypeError(
                "Content-Encoding",
                "must be left out, as bodies are read as they are, got an encoding; do not compress it",
            )
        stated = bytes_stated(headers.get("content-length", ""))
        if stated is not None and stated > limit:
            raise _too_long(rule, field)

    def _require_wanted(self) -> None:
        if self._given_up is not None:
            raise OverloadedError("too many bytes are arriving; come back after a while", self._given_up)


def bytes_stated(header: str) -> int | None:
    """The number of bytes that a header states; None where it is no such number."""
    # int() fails at "²", which isdigit() takes, and at 5,000 digits.
    return int(header) if SOME_BYTES.fullmatch(header) else None


def _too_long(rule: int, field: str) -> TooLargeError:
    return TooLargeError(field, f"must have at most {rule:,} bytes, got more; send less in one request")
