"""Certificates for servers and clients of the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from serving.http.server_tls import ServerTls

CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")


class Certificate(NamedTuple):
    """A certificate that is its own authority, or of one, and its key."""

    file: Path
    key: Path

    def sign(self, name: str, *names: str) -> Certificate:
        """A new certificate for these names, each `DNS:…` or `IP:…`, of this authority."""
        return _made(self.file.parent, name, *names, authority=("-CA", str(self.file), "-CAkey", str(self.key)))


def demanding(shown: Certificate, authority: Certificate) -> ServerTls:
    """A server that shows the one, and demands of its clients a certificate of the other."""
    files = {"certificates": shown.file, "key": shown.key, "authorities": authority.file}
    return ServerTls(**{name: file.read_bytes() for name, file in files.items()}, demanded=True)


def certificate(folder: Path, *names: str) -> Certificate:
    """A new certificate for these names that is its own authority."""
    return _made(folder, "cert", *names)


def authority(folder: Path) -> Certificate:
    """A new authority, which signs certificates."""
    return _made(folder, "authority")


def _made(folder: Path, name: str, *names: str, authority: tuple[str, ...] = ()) -> Certificate:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which makes the certificate")
    made = Certificate(folder / f"{name}.pem", folder / f"{name}-key.pem")
    files = ("-out", str(made.file), "-keyout", str(made.key))
    about = ("-subj", f"/CN={name}", *(("-addext", f"subjectAltName={','.join(names)}") if names else ()))
    if authority:  # else OpenSSL makes an authority of it, which no client may be
        about = (*about, "-addext", "basicConstraints=critical,CA:FALSE")
    line = ["openssl", "req", "-x509", *authority, *CURVE, *files, *about]
    subprocess.run(line, check=True, capture_output=True)
    return made
