"""What the command line of a worker says of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import click
import pytest

from serving.errors import SettingsError
from serving.http.server_tls import ServerTls, server_tls


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    for name in ("certificate", "key", "authorities"):
        (tmp_path / name).write_text(name)
    return {name: str(tmp_path / name) for name in ("certificate", "key", "authorities")}


def said(**params: Any) -> ServerTls | None:
    context = click.Context(click.Command("worker"))
    context.params = params
    with context:
        return server_tls()


def test_without_a_certificate_there_is_none() -> None:
    assert server_tls() is None
    assert said() is None
    assert said(ssl_certfile=None, ssl_ca_certs="there") is None


def test_the_files_are_read(files: dict[str, str]) -> None:
    assert said(ssl_certfile=files["certificate"], ssl_keyfile=files["key"]) == ServerTls(
        certificates=b"certificate", key=b"key"
    )
    assert said(ssl_certfile=files["certificate"]) == ServerTls(certificates=b"certificate", key=b"certificate")


@pytest.mark.parametrize(("reqs", "demanded"), [(ssl.CERT_REQUIRED, True), (ssl.CERT_OPTIONAL, False), (None, False)])
def test_a_client_must_show_a_certificate_where_bentoml_s_option_says_so(
    files: dict[str, str], reqs: int | None, demanded: bool
) -> None:
    tls = said(ssl_certfile=files["certificate"], ssl_ca_certs=files["authorities"], ssl_cert_reqs=reqs)
    assert tls is not None
    assert (tls.authorities, tls.demanded) == (b"authorities", demanded)


def test_a_key_with_a_password_is_refused(files: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="--ssl-keyfile-password: must be left out where grpc_port is served"):
        said(ssl_certfile=files["certificate"], ssl_keyfile_password="secret")
