"""Headers, and TLS in both directions, against real servers with certificates that the test makes."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import Any

import grpc
import pytest

from loadtest.errors import OptionError
from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.credentials import Credentials, header
from loadtest.traffic.plan import Plan
from loadtest.traffic.sample import Sample
from loadtest.traffic.sending import Calls
from tests.certificates import Certificate, authority, certificate
from tests.loadtest.little_server import little_server, ok

SAMPLE = Sample("/classify_text", b'{"text": "a"}', "application/json", "short")


def shown(made: Certificate, demanded: Certificate | None = None) -> ssl.SSLContext:
    """A server's context that shows the one, and demands of its clients a certificate of the other."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.file, made.key)
    if demanded is not None:
        context.load_verify_locations(demanded.file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def asked(url: str, credentials: Credentials) -> int:
    (reply,) = ask_one_by_one(url, [SAMPLE], timeout_s=60, credentials=credentials)
    return reply.status


def test_a_header_is_read_and_its_value_stays_secret() -> None:
    assert header("Authorization: Bearer abc:d") == ("Authorization", "Bearer abc:d")
    assert header("X-Empty:") == ("X-Empty", "")
    for wrong in (
        "secret",
        "a b: secret",
        "x: secret\r\ny: z",
        "x: secret\0",
        ": secret",
        "Content-Length: secret",
        "HOST: secret",
    ):
        with pytest.raises(ValueError, match="must be 'NAME: VALUE'") as raised:
            header(wrong)
        assert "secret" not in str(raised.value)
    plan = Plan(
        url="https://x", credentials=Credentials(headers=(("Authorization", "secret"),), ca=Path("/home/me/ca.pem"))
    )
    said = json.dumps(plan.as_dict() | {"texts": None})
    assert "Authorization" in said
    assert "ca.pem" in said
    assert "secret" not in said
    assert "/home" not in said


def test_each_request_has_the_headers() -> None:
    with little_server(lambda _: ok(), demands={"Authorization": "Bearer k", "X-Tenant": "a"}) as url:
        assert asked(url, Credentials()) == 401
        assert asked(url, Credentials(headers=(("Authorization", "Bearer k"),))) == 401
        assert asked(url, Credentials(headers=(("authorization", "Bearer k"), ("X-Tenant", "a")))) == 200


def test_a_server_is_checked_against_the_authority(tmp_path: Path) -> None:
    ours = certificate(tmp_path, "IP:127.0.0.1")
    (tmp_path / "other").mkdir()
    other = certificate(tmp_path / "other", "IP:127.0.0.1")
    with little_server(lambda _: ok(), shown(ours)) as url:
        assert asked(url, Credentials(ca=ours.file)) == 200
        assert asked(url, Credentials(ca=other.file)) == 0
        assert asked(url, Credentials()) == 0


def test_a_client_shows_its_certificate(tmp_path: Path) -> None:
    of = authority(tmp_path)
    server, client = of.sign("server", "IP:127.0.0.1"), of.sign("client", "DNS:client")
    both = tmp_path / "both.pem"
    both.write_bytes(client.file.read_bytes() + client.key.read_bytes())
    with little_server(lambda _: ok(), shown(server, of)) as url:
        assert asked(url, Credentials(ca=of.file)) == 0
        assert asked(url, Credentials(ca=of.file, cert=client.file, key=client.key)) == 200
        assert asked(url, Credentials(ca=of.file, cert=both)) == 200


def test_files_that_cannot_be_used_are_named_by_their_option(tmp_path: Path) -> None:
    made = certificate(tmp_path, "IP:127.0.0.1")
    for credentials, named in (
        (Credentials(ca=tmp_path / "none.pem"), "--ca: must be"),
        (Credentials(cert=made.file, key=made.file), "--cert and --key: must be"),
    ):
        with pytest.raises(OptionError, match=named):
            credentials.context()


def test_calls_over_grpc_show_the_same(tmp_path: Path) -> None:
    of = authority(tmp_path)
    server_shows, client = of.sign("server", "DNS:localhost"), of.sign("client", "DNS:client")
    credentials = Credentials(headers=(("Authorization", "Bearer k"),), ca=of.file, cert=client.file, key=client.key)

    async def infer(message: bytes, context: Any) -> bytes:
        return dict(context.invocation_metadata())["authorization"].encode() + message

    async def talk() -> bytes:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(infer)
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Service", {"Infer": handler})])
        pair = (server_shows.key.read_bytes(), server_shows.file.read_bytes())
        demanding = grpc.ssl_server_credentials([pair], of.file.read_bytes(), require_client_auth=True)
        port = server.add_secure_port("localhost:0", demanding)
        await server.start()
        calls = Calls(f"localhost:{port}", credentials, tls=True)
        try:
            return (await calls.infer("/test.Service/Infer", b"!", 60)).body
        finally:
            await calls.close()
            await server.stop(None)

    assert asyncio.run(talk()) == b"Bearer k!"
