"""make image: what an image holds, as CycloneDX 1.6 in JSON.

In: an image of an engine (`--backend docker`, podman, buildah), or a folder with its files (`--root`). Nothing of the
image is run: its packages are read from what pip, uv and dpkg have written there, its models from their manifests.
Out: build/sbom.cdx.json, checked against the schema of CycloneDX.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

ROOT = Path(__file__).parent.parent
BENTO = "home/bentoml/bento"
READ = ("*.dist-info/METADATA", f"/{BENTO}/bento.yaml", "/var/lib/dpkg/status")
"""The files of an image that are read, beside its models."""
DESCRIBED = ("manifest.json", "operating-point.json")


class SbomError(Exception):
    """The image cannot be read, or is none of ours."""


def sbom_of(root: Path) -> Bom:
    """The list for the image whose files lie below `root`. Raises SbomError where it holds no Bento."""
    stated = root / BENTO / "bento.yaml"
    if not stated.is_file():
        raise SbomError(f"{root} has no {BENTO}/bento.yaml: must be an image of a Bento; make one with `make image`")
    bento = yaml.safe_load(stated.read_text(encoding="utf-8"))
    bom = Bom()
    bom.metadata.component = Component(
        name=str(bento["name"]), version=str(bento["version"]), type=ComponentType.CONTAINER, bom_ref="image"
    )
    for each in (*_python(root), *_debian(root), *_models(root / BENTO / "models")):
        bom.components.add(each)
    return bom


def in_json(bom: Bom) -> str:
    """The list as JSON. Raises SbomError where it breaks the schema of CycloneDX."""
    text = str(JsonV1Dot6(bom).output_as_string(indent=2))
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise SbomError(f"the list breaks the schema of CycloneDX ({wrong}); report it")
    return text


def _python(root: Path) -> Iterator[Component]:
    """The packages of Python, of the environment and of the base image."""
    folders = {str(found.parent.parent) for found in root.rglob("*.dist-info/METADATA")}
    for package in distributions(path=sorted(folders)):
        name, version = package.name, package.version
        kinds = [Property(name="sieve:license", value=stated)] if (stated := _license(package)) else []
        url = PackageURL("pypi", name=name.lower().replace("_", "-"), version=version)
        yield Component(
            name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url), properties=kinds
        )


def _license(package: Distribution) -> str:
    """The license in a package's own words, if it is short."""
    for field in ("License-Expression", "License"):
        for stated in package.metadata.get_all(field) or ():
            if 0 < len(stated) <= 80 and "\n" not in stated:
                return str(stated)
    return ""


def _debian(root: Path) -> Iterator[Component]:
    """The packages of the base image's system."""
    status = root / "var" / "lib" / "dpkg" / "status"
    for block in status.read_text(encoding="utf-8").split("\n\n") if status.is_file() else ():
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            url = PackageURL("deb", "debian", name, version, {"arch": fields.get("Architecture", "all")})
            yield Component(name=name, version=version, type=ComponentType.LIBRARY, purl=url, bom_ref=str(url))


def _models(models: Path) -> Iterator[Component]:
    """Each model, with the digest of what describes it, and its files."""
    for folder in sorted(path for path in models.glob("*/*") if path.is_dir()):
        (described,) = [folder / name for name in DESCRIBED if (folder / name).is_file()]
        said: dict[str, Any] = json.loads(described.read_text(encoding="utf-8"))
        name, version = folder.parent.name, folder.name
        kind = ComponentType.MACHINE_LEARNING_MODEL if described.name == DESCRIBED[0] else ComponentType.DATA
        digest = hashlib.sha256(described.read_bytes()).hexdigest()
        inner = [
            Component(name=path, type=ComponentType.FILE, hashes=[_sha256(of)], bom_ref=f"{name}:{version}/{path}")
            for path, of in said.get("files", {}).items()
        ]
        yield Component(
            name=name,
            version=version,
            type=kind,
            hashes=[_sha256(digest)],
            bom_ref=f"{name}:{version}",
            properties=[Property(name="sieve:hash-of", value=described.name)],
            components=inner,
        )


def _sha256(digest: str) -> HashType:
    return HashType(alg=HashAlgorithm.SHA_256, content=digest)


@contextmanager
def opened(image: str, backend: str) -> Iterator[Path]:
    """The folder with an image's files. Raises SbomError where the engine refuses."""
    if backend == "buildah":
        container = _engine("buildah", "from", "--pull-never", image)
        try:
            yield Path(_engine("buildah", "mount", container))
        finally:
            _engine("buildah", "rm", container)
        return
    with tempfile.TemporaryDirectory() as folder:
        packed, root = Path(folder, "image.tar"), Path(folder, "root")
        container = _engine(backend, "create", image)
        try:
            _engine(backend, "export", "--output", str(packed), container)
        finally:
            _engine(backend, "rm", container)
        unpack(packed, root)
        yield root


def unpack(packed: Path, root: Path) -> None:
    """The files of an exported image that are read, below `root`."""
    with tarfile.open(packed) as archive:
        for member in archive:
            path = PurePosixPath("/", member.name)
            if member.isfile() and (path.is_relative_to(f"/{BENTO}/models") or any(map(path.match, READ))):
                archive.extract(member, root, filter="data")


def _engine(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SbomError(f"{words[0]} is not installed; name another engine with --backend") from None
    if done.returncode:
        raise SbomError(f"{' '.join(words[:2])}: {done.stderr.strip()}")
    return done.stdout.strip()


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m supply.sbom", description="What an image holds, as CycloneDX")
    parser.add_argument("image", nargs="?", default="sieve:cpu", help="the image (default: %(default)s)")
    parser.add_argument("--backend", default="docker", help="docker, podman or buildah (default: %(default)s)")
    parser.add_argument("--root", type=Path, help="a folder with the files of an image, in its place")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "sbom.cdx.json")
    given = parser.parse_args(words)
    try:
        if given.root:
            bom = sbom_of(given.root)
        else:
            with opened(given.image, given.backend) as root:
                bom = sbom_of(root)
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(in_json(bom) + "\n", encoding="utf-8")
    except SbomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{given.out}: {len(bom.components)} components")
    return 0


if __name__ == "__main__":
    sys.exit(main())
