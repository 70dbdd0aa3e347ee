"""The streams, against a real nats-server: what it has acknowledged survives its death, and nothing waits for it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from nats.js import api

from loadtest.traffic.process import free_port
from serving.audit import broker as module
from serving.audit.broker import ID_HEADER, REPORTS, WORK, Broker
from serving.errors import StageDownError, StageRefusedError
from tests.broker import Nats, until, with_broker
from tests.certificates import certificate

SUBJECT = "sieve.audit.work.abc"


async def publish(broker: Broker, *bodies: bytes) -> None:
    for body in bodies:
        await broker.publish(WORK, SUBJECT, body, {ID_HEADER: body[:32].hex()})


async def taken(broker: Broker, count: int, *, ack: bool = True) -> list[bytes]:
    found: list[bytes] = []
    async for message in broker.messages(WORK, "abc", SUBJECT):
        found.append(message.data)
        if ack:
            await message.ack_sync()
        if len(found) == count:
            return found
    raise AssertionError("it never ends")


def test_what_is_acknowledged_outlives_a_server_that_is_killed(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            await publish(broker, *(b"%d" % number for number in range(20)))
            assert await taken(broker, 5) == [b"0", b"1", b"2", b"3", b"4"]
            nats.kill()
            await until(lambda: not broker.connected)
            with pytest.raises(StageDownError):
                await publish(broker, b"lost")
            nats.start()
            await until(lambda: broker.connected)
            await publish(broker, b"20", b"20")  # an id counts once
            left = {b"%d" % number for number in range(5, 21)}
            async for message in broker.messages(WORK, "abc", SUBJECT):  # the server may forget the last acks
                left.discard(message.data)
                await message.ack()
                if not left:
                    return

        with_broker(nats.url, work)


def test_what_is_not_acknowledged_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACK_WAIT_S", 0.5)
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            await publish(broker, b"1", b"2")
            assert await taken(broker, 2, ack=False) == [b"1", b"2"]
            assert await taken(broker, 2) == [b"1", b"2"]

        with_broker(nats.url, work)


def test_a_server_that_comes_back_with_an_empty_disk_gets_its_streams_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_S", 0.5)
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            waiting = asyncio.ensure_future(taken(broker, 1))
            await asyncio.sleep(0.2)
            nats.kill()
            nats._folder = tmp_path / "other"
            nats.start()
            await until(lambda: broker.connected)
            while True:
                try:
                    await publish(broker, b"1")
                    break
                except StageDownError:
                    await asyncio.sleep(0.1)
            assert await waiting == [b"1"]

        with_broker(nats.url, work)


def test_a_full_stream_refuses_what_is_new_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORK", module.Stream(WORK.name, WORK.subjects, 4096))
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            await publish(broker, b"1" * 3000)
            with pytest.raises(StageRefusedError, match="no room"):
                await publish(broker, b"2" * 3000)
            assert await taken(broker, 1) == [b"1" * 3000]
            await publish(broker, b"3" * 3000)

        with_broker(nats.url, work)


def test_a_message_above_the_servers_limit_is_refused(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def work(broker: Broker) -> None:
            with pytest.raises(StageRefusedError, match="max_payload"):
                await publish(broker, bytes(1_048_576))

        with_broker(nats.url, work)


def test_streams_that_an_operator_has_made_are_used_as_they_are(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats") as nats:

        async def makes(broker: Broker) -> None:
            assert broker._js is not None
            await broker._js.update_stream(
                api.StreamConfig(
                    name=REPORTS.name,
                    subjects=[REPORTS.subjects],
                    retention=api.RetentionPolicy.WORK_QUEUE,
                    discard=api.DiscardPolicy.NEW,
                    max_bytes=1_000_000,
                )
            )

        async def looks(broker: Broker) -> None:
            assert broker._js is not None
            assert (await broker._js.stream_info(REPORTS.name)).config.max_bytes == 1_000_000

        with_broker(nats.url, makes)
        with_broker(nats.url, looks)


def test_a_server_that_is_not_there_raises_at_once_and_the_log_says_so_once_without_the_password(
    logged: list[logging.LogRecord],
) -> None:
    async def work(broker: Broker) -> None:
        for _ in range(3):
            with pytest.raises(StageDownError):
                await publish(broker, b"1")
            await asyncio.sleep(0.7)

    with_broker(f"nats://me:secret@127.0.0.1:{free_port()}", work, connected=False)
    (said,) = [record.getMessage() for record in logged if "broker" in record.getMessage()]
    assert "127.0.0.1 cannot be reached" in said
    assert "secret" not in said


def test_a_password_in_the_url_is_needed_and_does(tmp_path: Path) -> None:
    with Nats(tmp_path / "nats", "--user", "me", "--pass", "secret") as nats:

        async def work(broker: Broker) -> None:
            await publish(broker, b"1")

        async def refused(broker: Broker) -> None:
            await asyncio.sleep(1.5)
            assert not broker.connected

        with_broker(nats.url.replace("//", "//me:secret@"), work)
        with_broker(nats.url.replace("//", "//me:wrong@"), refused, connected=False)


def test_tls_is_demanded_and_the_certificate_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = certificate(tmp_path, "DNS:localhost,IP:127.0.0.1")
    with Nats(tmp_path / "plain") as plain, _tls(tmp_path, shown.file, shown.key) as encrypted:

        async def work(broker: Broker) -> None:
            await publish(broker, b"1")

        async def refused(broker: Broker) -> None:
            await asyncio.sleep(1.0)
            assert not broker.connected

        with_broker(plain.url.replace("nats:", "tls:"), refused, connected=False)
        with_broker(encrypted.url.replace("nats:", "tls:"), refused, connected=False)  # an authority of nobody
        monkeypatch.setenv("SSL_CERT_FILE", str(shown.file))
        with_broker(encrypted.url.replace("nats:", "tls:"), work)


def _tls(folder: Path, file: Path, key: Path) -> Nats:
    return Nats(folder / "tls", "--tls", "--tlscert", str(file), "--tlskey", str(key))
