from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from supply.sbom import BENTO, SbomError, in_json, sbom_of, unpack
from tests.conftest import ROOT, TinyCascades

STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u10
Description: GNU C Library
 Contains: the standard libraries

Package: gone
Status: deinstall ok config-files
Version: 1
"""


@pytest.fixture
def root(tiny_cascades: TinyCascades, tmp_path: Path) -> Path:
    """The files of an image, as far as they are read: real models, and a real package of Python."""
    root = tmp_path / "root"
    bento = root / BENTO
    bento.mkdir(parents=True)
    (bento / "bento.yaml").write_text("name: sieve\nversion: abc\n")
    (bento / "models").symlink_to(tiny_cascades.home / "models")
    dpkg = root / "var" / "lib" / "dpkg"
    dpkg.mkdir(parents=True)
    (dpkg / "status").write_text(STATUS)
    package = root / "app" / ".venv" / "lib" / "python3.11" / "site-packages" / "httpx-0.28.1.dist-info"
    package.mkdir(parents=True)
    (package / "METADATA").write_text(distribution("httpx").read_text("METADATA") or "")
    return root


def test_it_lists_packages_and_models_with_their_digests_by_the_schema(
    root: Path, tiny_cascades: TinyCascades, tmp_path: Path
) -> None:
    out = tmp_path / "sbom.json"
    line = [sys.executable, "-m", "supply.sbom", "--root", str(root), "--out", str(out)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    said = json.loads(text)
    assert said["metadata"]["component"]["version"] == "abc"
    by_name = {each["name"]: each for each in said["components"]}
    assert by_name["httpx"]["purl"] == "pkg:pypi/httpx@0.28.1"
    assert by_name["libc6"]["purl"].startswith("pkg:deb/debian/libc6@2.36")
    assert "gone" not in by_name
    for role in ("screen", "expert"):
        folder, model = tiny_cascades.artifact("tiny-text", role), by_name[f"tiny-text-{role}"]
        latest = tiny_cascades.home / "models" / f"tiny-text-{role}" / "latest"
        assert (model["type"], model["version"]) == ("machine-learning-model", latest.read_text())
        digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
        assert model["hashes"] == [{"alg": "SHA-256", "content": digest}]
        files = json.loads((folder / "manifest.json").read_text())["files"]
        assert {each["name"]: each["hashes"][0]["content"] for each in model["components"]} == files
    assert by_name["tiny-text-operating-point"]["type"] == "data"


def test_what_an_engine_exports_says_the_same(root: Path, tmp_path: Path) -> None:
    packed = tmp_path / "image.tar"
    with tarfile.open(packed, "w", dereference=True) as archive:
        (root / "etc").mkdir()
        (root / "etc" / "secret").write_text("not read")
        archive.add(root, arcname=".")
    unpack(packed, tmp_path / "again")
    assert not (tmp_path / "again" / "etc").exists()
    ours, theirs = (json.loads(in_json(sbom_of(each)))["components"] for each in (root, tmp_path / "again"))
    assert ours == theirs


def test_what_is_no_image_of_a_bento_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SbomError, match=r"must be an image of a Bento; make one with `make image`"):
        sbom_of(tmp_path)


def test_an_engine_that_is_not_there_is_told(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "supply.sbom", "--backend", "no-such-engine", "--out", str(tmp_path / "x")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no-such-engine is not installed; name another engine with --backend" in done.stderr
