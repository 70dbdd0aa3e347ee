"""Takes audited items from the broker, asks the expert, and reports, each item at least once.

An item is acknowledged after its report lies in the other stream. A worker that dies leaves its item to the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from nats.aio.msg import Msg
from nats.errors import Error

from serving.arrays import Array, Logits
from serving.audit.broker import ID_HEADER, REPORTS, RETRY_S, WORK, Broker
from serving.audit.note import (
    DIGEST_HEADER,
    NOTE_HEADER,
    OUTCOME_HEADER,
    REPLY_HEADER,
    Outcome,
    durable_of,
    work_subject,
)
from serving.errors import MalformedError, StageDownError, StageError, StageRefusedError
from serving.expert.client import WrongArtifactError
from serving.expert.wire import pack, unpack

AGAIN_S = 1.0

logger = logging.getLogger("sieve")


class AuditWorker:
    """Works on what comes for the expert of one `digest`, which `ask` asks: a prepared item -> logits [1, labels].

    `count` is told of each item.
    """

    def __init__(
        self,
        broker: Broker,
        digest: str,
        ask: Callable[[Array], Awaitable[Logits]],
        count: Callable[[Outcome], None] = lambda _: None,
    ) -> None:
        self._broker, self._digest, self._ask, self._count = broker, digest, ask, count
        self.counts: Counter[Outcome] = Counter()

    async def run(self) -> None:
        """Work until this is cancelled."""
        subject = work_subject(self._digest)
        async for message in self._broker.messages(WORK, durable_of(subject), subject):
            try:
                await self._work(message)
            except (Error, OSError, StageError) as error:  # the broker or the expert is away: it comes again
                logger.info("an audited item waits (%s)", type(error).__name__)
                await asyncio.sleep(AGAIN_S)

    async def _work(self, message: Msg) -> None:
        outcome, logits = await self._answer(message)
        headers = message.headers or {}
        reply = {name: headers[name] for name in (ID_HEADER, NOTE_HEADER) if name in headers}
        if subject := headers.get(REPLY_HEADER):
            body = pack([logits]) if logits is not None else b""
            await self._report(message, subject, body, {**reply, OUTCOME_HEADER: outcome})
        await message.ack()
        self.counts[outcome] += 1
        self._count(outcome)

    async def _answer(self, message: Msg) -> tuple[Outcome, Logits | None]:
        if (message.headers or {}).get(DIGEST_HEADER) != self._digest:
            return "refused", None
        try:
            (item,) = unpack(message.data)
        except (MalformedError, ValueError):
            return "failed", None
        while True:
            try:
                return "answered", await self._ask(item)
            except WrongArtifactError:
                return "refused", None
            except (StageRefusedError, StageDownError):
                await message.in_progress()
                await asyncio.sleep(AGAIN_S)
            except Exception:
                logger.exception("the expert fails on an audited item")
                return "failed", None

    async def _report(self, message: Msg, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Report until the stream has it: it may be full, while the service that it is for is away."""
        while True:
            try:
                return await self._broker.publish(REPORTS, subject, body, headers)
            except StageRefusedError:
                await message.in_progress()
                await asyncio.sleep(RETRY_S)
