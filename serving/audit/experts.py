"""Asks experts elsewhere, over the broker, and waits for their answers: how a shadow does it."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time

from serving.arrays import Array, Logits
from serving.audit.broker import (
    DAY_S,
    ID_HEADER,
    REPORTS,
    RETRY_S,
    WORK,
    Broker,
    MessageTooLargeError,
    acknowledge,
)
from serving.audit.note import (
    DIGEST_HEADER,
    OUTCOME_HEADER,
    REPLY_HEADER,
    durable_of,
    report_subject,
    reported_logits,
    work_subject,
)
from serving.errors import MalformedError, StageDownError, StageLateError, StageRefusedError
from serving.expert.wire import pack

REFUSED_S = 5.0
"""After so long an item is sent again that a worker has refused, since it has another expert by now."""
LONG_S = 60.0
"""When the log says that an item waits."""

logger = logging.getLogger("sieve")


class ExpertsOverBroker:
    """The way of this process to workers elsewhere. One event loop uses it.

    Its answers have a subject of their own, so that no other process takes them. Those that come after it has ended go
    with age, and are few: a shadow asks about one item at a time.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker, self._subject = broker, report_subject(secrets.token_hex(16), "shadow")
        self._asked: dict[str, asyncio.Future[Logits | None]] = {}

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._broker.connected

    async def ask(self, digest: str, item: Array) -> Logits:
        """The logits [1, labels] that the expert with this digest gives for a prepared item.

        It waits for the broker, for room in it and for a worker, up to a day, after which a stream forgets what it
        holds. Were items given up, those that need no expert would count alone. Raises MessageTooLargeError,
        StageDownError where the expert fails on the item, and StageLateError after that day.
        """
        body = pack([item])
        try:
            async with asyncio.timeout(DAY_S):
                while (logits := await self._asked_once(digest, body)) is None:
                    await asyncio.sleep(REFUSED_S)
            return logits
        except TimeoutError:
            raise StageLateError("no worker has answered for a day") from None

    async def _asked_once(self, digest: str, body: bytes) -> Logits | None:
        """None where a worker has refused the item."""
        number, begin_s, said = secrets.token_hex(8), time.monotonic(), False
        answer: asyncio.Future[Logits | None] = asyncio.get_running_loop().create_future()
        self._asked[number] = answer
        headers = {ID_HEADER: number, DIGEST_HEADER: digest, REPLY_HEADER: self._subject}
        sent = -1
        try:
            while not answer.done():
                # nats-py may swallow a cancellation: asyncio.wait_for of Python 3.11 does where its future is done.
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise asyncio.CancelledError
                # Once for each time that the broker is reached: it may have lost its disk. If not, it drops what it
                # has had within SAME_ID_S; after a longer outage a worker answers twice, and the second is passed over.
                if sent != self._broker.reached:
                    sent = await self._sent(digest, body, headers)
                await asyncio.wait({answer}, timeout=RETRY_S)
                if not said and time.monotonic() - begin_s > LONG_S:
                    said = True
                    logger.warning(
                        "an item of a shadow has waited for %.0f s; is the broker there, and a worker that has the "
                        "expert %s?",
                        *(LONG_S, digest[:12]),
                    )
            return answer.result()
        finally:
            del self._asked[number]

    async def _sent(self, digest: str, body: bytes, headers: dict[str, str]) -> int:
        """How often the broker had been reached when it took the item; -1 where it did not."""
        reached = self._broker.reached
        try:
            await self._broker.publish(WORK, work_subject(digest), body, headers)
        except MessageTooLargeError:
            raise
        except (StageDownError, StageRefusedError):
            return -1
        return reached

    async def run(self) -> None:
        """Take what workers answer, for ever."""
        async for message in self._broker.messages(REPORTS, durable_of(self._subject), self._subject):
            headers = message.headers or {}
            answer = self._asked.get(headers.get(ID_HEADER, ""))
            if answer is not None and not answer.done():
                try:
                    logits = reported_logits(headers, message.data)
                except MalformedError:
                    logits = None
                if logits is None and headers.get(OUTCOME_HEADER) != "refused":
                    answer.set_exception(StageDownError("the expert elsewhere failed on the item"))
                else:
                    answer.set_result(logits)
            await acknowledge(message)
