"""Sends audited items of one promise to workers elsewhere, and takes their reports, each at least once."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from nats.aio.msg import Msg

from serving.arrays import Array
from serving.audit.broker import ID_HEADER, MAX_UNACKED, REPORTS, RETRY_S, WORK, Broker, acknowledge
from serving.audit.experts import ExpertsOverBroker
from serving.audit.note import (
    DIGEST_HEADER,
    NOTE_HEADER,
    REPLY_HEADER,
    Note,
    Report,
    durable_of,
    report_subject,
    reported_logits,
    work_subject,
)
from serving.errors import MalformedError, StageDownError
from serving.expert.wire import pack

ORIGIN = "origin"

logger = logging.getLogger("sieve")


class OverBroker:
    """The way of one promise, the operating point `tag`, to the workers that have the expert of this `digest`.

    `origin` names the state that the reports belong to: processes that share it share the reports.
    """

    def __init__(self, broker: Broker, digest: str, tag: str, origin: str) -> None:
        self._broker, self._digest, self._subject = broker, digest, report_subject(origin, tag)
        self._came: list[Report] = []

    @property
    def connected(self) -> bool:
        """Whether the broker can be reached now."""
        return self._broker.connected

    async def send(self, item: Array, note: Note) -> None:
        """Put an item into the stream, and wait until the stream has it, however long the broker is away.

        Raises StageRefusedError where it does not take the item.
        """
        headers = {
            ID_HEADER: note.id,
            DIGEST_HEADER: self._digest,
            REPLY_HEADER: self._subject,
            NOTE_HEADER: note.packed(),
        }
        body = pack([item])
        while True:
            try:
                return await self._broker.publish(WORK, work_subject(self._digest), body, headers)
            except StageDownError:
                await asyncio.sleep(RETRY_S)

    async def run(self) -> None:
        """Collect reports, for ever. Those that nobody takes are bounded: the broker waits for acknowledgements."""
        async for message in self._broker.messages(REPORTS, durable_of(self._subject), self._subject):
            report = _read(message)
            if report is None:
                await acknowledge(message)
            else:
                self._came.append(report)
            while len(self._came) >= MAX_UNACKED:
                await asyncio.sleep(RETRY_S)

    def taken(self) -> list[Report]:
        """The reports that came since the last time. They come again unless they are acknowledged."""
        came, self._came = self._came, []
        return came

    async def counted(self, reports: Sequence[Report]) -> None:
        """Acknowledge reports that are counted and saved."""
        for report in reports:
            await acknowledge(report.message)


def _read(message: Msg) -> Report | None:
    """The report in a message; None for what is none, which the log says."""
    try:
        headers = message.headers or {}
        return Report(Note.read(headers.get(NOTE_HEADER, "")), reported_logits(headers, message.data), message)
    except MalformedError:
        logger.warning("a report of an audit cannot be read; it is put away, and its item does not count")
        return None


def origin_of(folder: Path | None) -> str:
    """The name of the state in a folder: the same for all that share the folder, and after a restart.

    Without a folder that can be written, a name for this process alone.
    """
    name = secrets.token_hex(16)
    if folder is None:
        return name
    path, own = folder / ORIGIN, folder / f"{ORIGIN}.{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        own.write_text(name, encoding="utf-8")
        try:
            os.link(own, path)  # whole, and only where no other process was first
        except FileExistsError:
            pass
        finally:
            own.unlink()
        return path.read_text(encoding="utf-8") or name
    except OSError:
        return name


class WaysOverBroker:
    """The ways over the broker at `url`, of promises whose states lie in `folder`."""

    def __init__(self, url: str, folder: Path | None) -> None:
        self._broker, self._origin = Broker(url, "sieve"), origin_of(folder)

    def start(self) -> None:
        """Connect, in the running event loop."""
        self._broker.start()

    def to(self, digest: str, tag: str) -> OverBroker:
        """The way for the promise `tag` to the workers with the expert of this digest."""
        return OverBroker(self._broker, digest, tag, self._origin)

    def experts(self) -> ExpertsOverBroker:
        """The way to the workers for one who waits for their answers."""
        return ExpertsOverBroker(self._broker)
