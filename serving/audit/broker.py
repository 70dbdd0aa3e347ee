"""The way to NATS JetStream, where audits may leave the machine: one connection, two bounded streams, explicit acks.

Work goes one way, reports come back. A stream that is full refuses what is new, so nothing that it has acknowledged is
lost before its age. Nothing here raises because NATS is away: the connection is made again for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js.errors import APIError, NotFoundError

from serving.errors import StageDownError, StageRefusedError

DAY_S = 86_400.0
ID_HEADER = "Nats-Msg-Id"
"""JetStream keeps one of the messages that carry the same."""
SAME_ID_S = 600.0
ACK_WAIT_S = 30.0
"""What was not acknowledged for so long is delivered again."""
MAX_UNACKED = 256
FULL = (10023, 10047, 10077)
"""What JetStream answers where its memory, its disk or the stream is full."""
PUBLISH_S, RETRY_S, POLL_S, CONNECT_S = 2.0, 0.5, 5.0, 2

logger = logging.getLogger("sieve")


class MessageTooLargeError(StageRefusedError):
    """A message is larger than the server's `max_payload`."""


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream of ours. One that an operator has made before, say with replicas, is used as it is."""

    name: str
    subjects: str
    max_bytes: int


WORK = Stream("SIEVE_AUDIT_WORK", "sieve.audit.work.*", 268_435_456)
REPORTS = Stream("SIEVE_AUDIT_REPORTS", "sieve.audit.report.*", 67_108_864)


class _Client(Client):
    """The client of nats-py, which would take tls:// for a wish: it goes on in the clear if the server says so."""

    async def _process_info(self, info: dict[str, object], initial_connection: bool = False) -> None:
        encrypted = self._current_server is not None and self._current_server.uri.scheme == "tls"
        if initial_connection and encrypted and not info.get("tls_required"):
            raise errors.Error("the server offers no TLS, and the URL demands it")
        await super()._process_info(info, initial_connection=initial_connection)


class Broker:
    """The connection of this process to the servers of `url`, which are parted by commas. One event loop uses it.

    `name` is what the server's own monitoring calls it.
    """

    def __init__(self, url: str, name: str) -> None:
        self._servers, self._name = url.split(","), name
        self._client: Client | None = None
        self._js: JetStreamContext | None = None
        self._away = False
        self.reached = 0
        """How often the server was reached, and perhaps lost again."""
        self._keeping: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the server can be reached now."""
        return self._client is not None and self._client.is_connected

    def start(self) -> None:
        """Connect from now on, in the running event loop, and again whenever the server is lost."""
        if self._keeping is None:
            self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Close the connection; what was not acknowledged will be delivered again."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    async def publish(self, stream: Stream, subject: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Put a message into a stream, and wait until the stream has it.

        Raises StageDownError where NATS is away, and StageRefusedError where it will not take this message: the stream
        is full, or it is a MessageTooLargeError.
        """
        client, js = self._client, self._js
        if client is None or js is None or not client.is_connected:
            raise StageDownError("the broker cannot be reached")
        if len(body) + sum(len(name) + len(value) + 4 for name, value in headers.items()) > client.max_payload:
            raise MessageTooLargeError(f"the message has {len(body)} bytes, more than the broker's max_payload")
        try:
            await js.publish(subject, body, timeout=PUBLISH_S, stream=stream.name, headers=dict(headers))
        except (errors.Error, OSError, TimeoutError) as error:
            if isinstance(error, APIError) and error.err_code in FULL:
                raise StageRefusedError("the broker has no room for the message") from error
            await self._try(stream)
            raise StageDownError(f"the broker has not acknowledged ({type(error).__name__})") from error

    async def messages(self, stream: Stream, durable: str, subject: str) -> AsyncIterator[Msg]:
        """The messages of a subject, for ever, shared by all who name the same `durable`; each must be acknowledged."""
        config = api.ConsumerConfig(
            durable_name=durable,
            filter_subject=subject,
            ack_policy=api.AckPolicy.EXPLICIT,
            ack_wait=ACK_WAIT_S,
            max_ack_pending=MAX_UNACKED,
            inactive_threshold=DAY_S,
        )
        while True:
            try:
                client, js = self._client, self._js
                if client is None or js is None or not client.is_connected:
                    await asyncio.sleep(RETRY_S)
                    continue
                await _make(js, stream)
                await js.add_consumer(stream.name, config)
                pulled = await js.pull_subscribe_bind(durable=durable, stream=stream.name)
                try:
                    while client is self._client:
                        try:
                            (message,) = await pulled.fetch(1, timeout=POLL_S)
                        except TimeoutError:
                            await js.consumer_info(stream.name, durable)  # a server may come back with an empty disk
                            continue
                        yield message
                finally:
                    if client.is_connected:
                        await pulled.unsubscribe()
            except (errors.Error, OSError, TimeoutError):
                await asyncio.sleep(RETRY_S)

    async def _try(self, stream: Stream) -> None:
        """Make the stream if the server lacks it, as after it has lost its disk."""
        try:
            if self._js is not None and self.connected:
                await _make(self._js, stream)
        except (errors.Error, OSError, TimeoutError):
            return

    async def _keep(self) -> None:
        while True:
            client = _Client()
            try:
                await client.connect(
                    self._servers,
                    name=self._name,
                    connect_timeout=CONNECT_S,
                    reconnect_time_wait=1,
                    max_reconnect_attempts=-1,
                    error_cb=self._lost,
                    disconnected_cb=self._lost,
                    reconnected_cb=self._again,
                )
                self._client, self._js = client, client.jetstream(timeout=PUBLISH_S)
                self.reached += 1
                for stream in (WORK, REPORTS):
                    await self._try(stream)
                await self._found()
                while not client.is_closed:  # as after a password that no longer holds
                    await asyncio.sleep(RETRY_S)
            except (errors.Error, OSError, TimeoutError) as error:
                await self._lost(error)
            finally:
                with suppress(errors.Error, OSError):  # a connection that is broken need not be closed
                    await client.close()
            await asyncio.sleep(RETRY_S)

    async def _lost(self, error: Exception | None = None) -> None:
        if not self._away and not self.connected:
            self._away = True
            kind = type(error).__name__ if error is not None else "the connection broke"
            logger.warning("the broker %s cannot be reached (%s); it is tried again for ever", self._hosts(), kind)

    async def _again(self) -> None:
        self.reached += 1
        await self._found()

    async def _found(self) -> None:
        if self._away:
            self._away = False
            logger.warning("the broker %s is reached again", self._hosts())

    def _hosts(self) -> str:
        """Where the servers are, without the passwords in their URLs."""
        return ", ".join(urlsplit(server).hostname or "" for server in self._servers)


async def _make(js: JetStreamContext, stream: Stream) -> None:
    """Make a stream that is not there."""
    try:
        await js.stream_info(stream.name)
    except NotFoundError:
        await js.add_stream(
            api.StreamConfig(
                name=stream.name,
                subjects=[stream.subjects],
                retention=api.RetentionPolicy.WORK_QUEUE,
                storage=api.StorageType.FILE,
                discard=api.DiscardPolicy.NEW,
                max_bytes=stream.max_bytes,
                max_age=DAY_S,
                duplicate_window=SAME_ID_S,
            )
        )


async def acknowledge(message: Msg) -> None:
    """Say that a report need not come again. Where the broker does not hear it, it does."""
    try:
        await message.ack()
    except (errors.Error, OSError):
        logger.info("the broker has not heard that a report was taken; it comes again, and counts once")
