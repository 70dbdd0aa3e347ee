"""The TLS files of `bentoml serve --ssl-certfile`, for what else this process serves."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import click

from serving.errors import SettingsError


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """What a server shows and asks of its clients, in PEM; `demanded` is whether a client must show a certificate.

    Such a certificate must be signed by one of `authorities`.
    """

    certificates: bytes
    key: bytes
    authorities: bytes | None = None
    demanded: bool = False


def server_tls() -> ServerTls | None:
    """What the command line of this process says of TLS, None if it says nothing.

    BentoML hands each worker the options of `bentoml serve`. Raises SettingsError for a key with a password, which gRPC
    does not read.
    """
    context = click.get_current_context(silent=True)
    stated = context.params if context else {}
    certificates = stated.get("ssl_certfile")
    if not certificates:
        return None
    if stated.get("ssl_keyfile_password"):
        raise SettingsError(
            "--ssl-keyfile-password: must be left out where grpc_port is served, got a password, with which gRPC reads "
            "no key; give a key without one, in a file that this user alone may read"
        )
    authorities = stated.get("ssl_ca_certs")
    return ServerTls(
        certificates=Path(certificates).read_bytes(),
        key=Path(stated.get("ssl_keyfile") or certificates).read_bytes(),
        authorities=Path(authorities).read_bytes() if authorities else None,
        demanded=stated.get("ssl_cert_reqs") == ssl.CERT_REQUIRED,
    )
