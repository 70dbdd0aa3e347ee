"""Asks experts elsewhere, over the broker, and waits for their answers: how a shadow does it."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from serving.arrays import Array, Logits
from serving.audit.broker import ID_HEADER, REPORTS, RETRY_S, WORK, Broker, MessageTooLargeError, acknowledge
from serving.audit.note import DIGEST_HEADER, REPLY_HEADER, durable_of, report_subject, reported_logits, work_subject
from serving.errors import MalformedError, StageDownError, StageRefusedError
from serving.expert.wire import pack

ASK_AGAIN_S = 60.0
"""After so long an item is sent once more: the broker may have lost its disk. If it has not, it drops the copy."""


class ExpertsOverBroker:
    """The way of this process to workers elsewhere. One event loop uses it.

    Its answers have a subject of their own, so that no other process takes them. Those that come after it has ended go
    with age, and are few: a shadow asks about one item at a time.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker, self._subject = broker, report_subject(secrets.token_hex(16), "shadow")
        self._asked: dict[str, asyncio.Future[Logits]] = {}

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._broker.connected

    async def ask(self, digest: str, item: Array) -> Logits:
        """The logits [1, labels] that the expert with this digest gives for a prepared item.

        It waits for the broker, for room in it and for a worker, as long as that takes. Were items given up, those
        that need no expert would count alone. Raises MessageTooLargeError, and StageDownError where the expert fails on
        the item.
        """
        number = secrets.token_hex(8)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        headers = {ID_HEADER: number, DIGEST_HEADER: digest, REPLY_HEADER: self._subject}
        body = pack([item])
        try:
            while True:
                try:
                    await self._broker.publish(WORK, work_subject(digest), body, headers)
                except MessageTooLargeError:
                    raise
                except (StageDownError, StageRefusedError):
                    await asyncio.sleep(RETRY_S)
                    continue
                with suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(answer), ASK_AGAIN_S)
        finally:
            del self._asked[number]

    async def run(self) -> None:
        """Take what workers answer, for ever."""
        async for message in self._broker.messages(REPORTS, durable_of(self._subject), self._subject):
            answer = self._asked.get((message.headers or {}).get(ID_HEADER, ""))
            if answer is not None and not answer.done():
                try:
                    logits = reported_logits(message.headers or {}, message.data)
                except MalformedError:
                    logits = None
                if logits is None:
                    answer.set_exception(StageDownError("the expert elsewhere failed on the item"))
                else:
                    answer.set_result(logits)
            await acknowledge(message)
