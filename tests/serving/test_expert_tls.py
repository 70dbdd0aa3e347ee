"""The files that the API and its experts know each other by."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from serving.expert_tls import SYSTEM, ExpertTls
from tests.certificates import Certificate, authority


@pytest.fixture
def ours(tmp_path: Path) -> Certificate:
    return authority(tmp_path)


def test_without_files_the_system_s_authorities_count() -> None:
    context = SYSTEM.context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_of_authorities_that_are_named_no_others_count(ours: Certificate) -> None:
    (there,) = ExpertTls(ca=str(ours.file)).context().get_ca_certs()
    assert there["subject"] == ((("commonName", "authority"),),)


def test_a_certificate_and_its_key_may_stand_in_one_file(ours: Certificate, tmp_path: Path) -> None:
    client = ours.sign("client", "DNS:api")
    both = tmp_path / "both.pem"
    both.write_bytes(client.file.read_bytes() + client.key.read_bytes())
    for tls in (ExpertTls(cert=str(both)), ExpertTls(cert=str(client.file), key=str(client.key))):
        assert tls.context().verify_mode == ssl.CERT_REQUIRED


def test_files_that_do_not_go_together_cannot_be_read(ours: Certificate, tmp_path: Path) -> None:
    client = ours.sign("client", "DNS:api")
    locked = tmp_path / "locked.pem"
    line = ["openssl", "pkey", "-in", str(client.key), "-aes256", "-passout", "pass:word", "-out", str(locked)]
    subprocess.run(line, check=True, capture_output=True)
    for cert, key in ((client.file, ours.key), (client.file, tmp_path / "none"), (client.file, locked)):
        with pytest.raises(OSError):  # noqa: PT011  # the words are OpenSSL's
            ExpertTls(cert=str(cert), key=str(key)).context()
