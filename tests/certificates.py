"""Certificates for servers of the tests."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Certificate(NamedTuple):
    """A certificate that is its own authority, and its key."""

    file: Path
    key: Path


def certificate(folder: Path, *names: str) -> Certificate:
    """A new certificate for these names, each `DNS:…` or `IP:…`."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl, which makes the certificate")
    made = Certificate(folder / "cert.pem", folder / "key.pem")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    files = ("-out", str(made.file), "-keyout", str(made.key))
    name = ("-subj", "/CN=expert", "-addext", f"subjectAltName={','.join(names)}")
    subprocess.run(["openssl", "req", "-x509", *curve, *files, *name], check=True, capture_output=True)
    return made
