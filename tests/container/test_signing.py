"""The image is signed by the documented command, and what is not signed, or was changed since, is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.docs.reading import blocks, read

MISSING = [tool for tool in ("skopeo", "gpg", "make") if shutil.which(tool) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
NAME = "registry.example/sieve:0.1.0"
IMAGE = "application/vnd.oci.image"


def run(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def write_image(folder: Path) -> Path:
    """A small image of one layer, in OCI's layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(kind: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": f"{IMAGE}.{kind}", "digest": f"sha256:{digest}", "size": len(data)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("hello"))
    rootfs = {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]}
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    parts = {
        "config": blob("config.v1+json", json.dumps(config).encode()),
        "layers": [blob("layer.v1.tar+gzip", gzip.compress(layer.getvalue(), mtime=0))],
    }
    manifest = {"schemaVersion": 2, "mediaType": f"{IMAGE}.manifest.v1+json", **parts}
    index = {"schemaVersion": 2, "manifests": [blob("manifest.v1+json", json.dumps(manifest).encode())]}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps(index))
    return folder


class Keys:
    """A folder of GnuPG, with a key that was made for this test."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self.folder = folder
        made = self.gpg("--quick-generate-key", "Sieve's test <test@sieve.invalid>", "ed25519", "sign", "1d")
        assert made.returncode == 0, made.stderr
        listed = self.gpg("--with-colons", "--list-keys").stdout.splitlines()
        self.fingerprint = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
        self.public = folder / "sieve.gpg"
        assert self.gpg("--output", str(self.public), "--export", self.fingerprint).returncode == 0

    def gpg(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run("gpg", "--batch", "--passphrase", "", "--pinentry-mode", "loopback", *words, GNUPGHOME=self.home)

    @property
    def home(self) -> str:
        return str(self.folder)


@pytest.fixture
def keys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keys]:
    keys = Keys(tmp_path_factory.mktemp("k") / "gnupg")
    yield keys
    run("gpgconf", "--kill", "all", GNUPGHOME=keys.home)


@pytest.fixture
def signed(keys: Keys, tmp_path: Path) -> Path:
    """The image, signed as docs/container.md says, in a folder instead of a registry."""
    image = write_image(tmp_path / "image")
    where = (f"FROM=oci:{image}", f"TO=dir:{tmp_path / 'signed'}", f"NAME={NAME}")
    done = run("make", "sign", f"KEY={keys.fingerprint}", *where, GNUPGHOME=keys.home)
    assert done.returncode == 0, done.stderr
    return tmp_path / "signed"


@pytest.fixture
def policy(keys: Keys, tmp_path: Path) -> Path:
    """The documented policy, for images in folders."""
    (stated,) = [json.loads(block) for block in blocks(read("docs/container.md"), "json")]
    ((rule,),) = stated["transports"]["docker"].values()
    stated["transports"] = {"dir": {"": [{**rule, "keyPath": str(keys.public)}]}}
    stated["transports"]["dir"][""][0]["signedIdentity"] = {"type": "exactReference", "dockerReference": NAME}
    path = tmp_path / "policy.json"
    path.write_text(json.dumps(stated))
    return path


def taken(policy: Path, image: Path) -> subprocess.CompletedProcess[str]:
    return run("skopeo", "--policy", str(policy), "copy", f"dir:{image}", f"dir:{image}-taken")


def test_a_signed_image_is_taken(signed: Path, policy: Path) -> None:
    done = taken(policy, signed)
    assert done.returncode == 0, done.stderr


def test_one_without_a_signature_is_refused(signed: Path, policy: Path) -> None:
    (signed / "signature-1").unlink()
    done = taken(policy, signed)
    assert done.returncode != 0
    assert "no signature exists" in done.stderr


def test_one_that_was_changed_since_is_refused(signed: Path, policy: Path) -> None:
    manifest = signed / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schemaVersion": 2', '"schemaVersion":  2'))
    done = taken(policy, signed)
    assert done.returncode != 0
    assert "does not match" in done.stderr or "digest" in done.stderr


def test_one_that_others_signed_is_refused(signed: Path, policy: Path, tmp_path: Path) -> None:
    other = Keys(tmp_path / "g")
    try:
        stated = json.loads(policy.read_text())
        stated["transports"]["dir"][""][0]["keyPath"] = str(other.public)
        policy.write_text(json.dumps(stated))
        assert taken(policy, signed).returncode != 0
    finally:
        run("gpgconf", "--kill", "all", GNUPGHOME=other.home)


def test_the_list_of_contents_is_signed_and_held_against_its_signature(keys: Keys, tmp_path: Path) -> None:
    listed = tmp_path / "sbom.cdx.json"
    listed.write_text("{}")
    assert keys.gpg("--local-user", keys.fingerprint, "--armor", "--detach-sign", str(listed)).returncode == 0
    assert keys.gpg("--verify", f"{listed}.asc", str(listed)).returncode == 0
    listed.write_text("{ }")
    assert keys.gpg("--verify", f"{listed}.asc", str(listed)).returncode != 0
