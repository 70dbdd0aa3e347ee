"""Images without an engine: buildah builds them, namespaces start them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from benchmarks.image_size import buildah
from loadtest.traffic.process import Running, running
from tests.conftest import ROOT, TinyCascades
from tests.server import Server, variables

BASE = "docker.io/library/python:3.11-slim"
# What a developer types, and the options of a machine without an engine.
BUILD = "bentoml build"
CONTAINERIZE = "bentoml containerize sieve:latest"
WITHOUT_ENGINE = "--backend buildah --opt isolation=chroot --opt network=host"

# Like an engine: devices and name resolution come from the machine, not even root can write the root file system, /tmp
# is an empty tmpfs, and process 1 is the entry point with the image's variables.
START = """
root=$1 user=$2 folder=$3; shift 3
mount --bind "$root" "$root"
given="dev/null dev/zero dev/random dev/urandom etc/hosts etc/resolv.conf"
for file in $given; do touch "$root/$file"; done
mount -o remount,bind,ro "$root"
for file in $given; do mount --bind "/$file" "$root/$file"; done
mount -t tmpfs tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
exec chroot --userspec="$user" "$root" env --ignore-environment --chdir="$folder" "$@"
"""


class Storage:
    """A separate storage of images, so that a developer's own images stay as they are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkout, self.home = folder / "checkout", folder / "bentoml"
        settings = folder / "storage.conf"
        lines = ("[storage]", 'driver = "vfs"', f'graphroot = "{folder}/images"', f'runroot = "{folder}/run"')
        settings.write_text("\n".join(lines) + "\n")
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("STORAGE_", "BUILDAH_"))},
            "CONTAINERS_STORAGE_CONF": str(settings),
            "BUILDAH_ISOLATION": "chroot",
            "BUILDAH_FORMAT": "docker",  # OCI, the other one, has no HEALTHCHECK
        }

    def buildah(self, *arguments: str) -> str:
        return buildah(*arguments, variables=self.variables)

    def build(self, cascades: TinyCascades) -> str:
        """The base image, then the two plain commands in a copy of the checkout; the name of the image."""
        base = ["bash", str(ROOT / "tests" / "container" / "base_image.sh"), str(self.folder / "base"), BASE]
        done = subprocess.run(base, env=self.variables, capture_output=True, text=True, timeout=500, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        shutil.copytree(ROOT, self.checkout, ignore=shutil.ignore_patterns(".git", ".venv", "build", "*cache*"))
        copy_as_demo(cascades.home, self.home)
        for line in (BUILD, f"{CONTAINERIZE} {WITHOUT_ENGINE}"):
            typed = self.type(line)
            assert typed.returncode == 0, (typed.stdout + typed.stderr)[-4000:]
        return f"localhost/sieve:{(self.home / 'bentos' / 'sieve' / 'latest').read_text()}"

    def type(self, line: str) -> subprocess.CompletedProcess[str]:
        """Type a line in the root of the copy, with the demo's names in the model store."""
        own = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **variables(self.home)}
        return subprocess.run(
            line.split(), cwd=self.checkout, env=self.variables | own, capture_output=True, text=True, timeout=500
        )


def copy_as_demo(source: Path, home: Path) -> None:
    """Copy the tiny cascades to the store in `home` under the demo's names, which plain commands serve."""
    for model in (source / "models").iterdir():
        copy = home / "models" / model.name.replace("tiny", "demo")
        shutil.copytree(model, copy)
        for file in copy.glob("*/model.yaml"):
            file.write_text(file.read_text().replace(f"name: {model.name}", f"name: {copy.name}"))


class Container:
    """A container of the image: its settings, its files, and how to start it."""

    def __init__(self, storage: Storage, image: str) -> None:
        self.storage, self.image = storage, image
        self.name = storage.buildah("from", "--pull-never", image)
        self.root = Path(storage.buildah("mount", self.name))
        self.settings: dict[str, Any] = json.loads(storage.buildah("inspect", self.name))["Docker"]["config"]

    @property
    def user(self) -> tuple[str, str]:
        """The numbers of the image's user and its group."""
        users = [line.split(":") for line in (self.root / "etc" / "passwd").read_text().splitlines()]
        (numbers,) = [(line[2], line[3]) for line in users if line[0] == self.settings["User"]]
        return numbers

    def variables(self, port: int | str) -> list[str]:
        return [*self.settings["Env"], f"PORT={port}"]

    @contextmanager
    def started(self, log: Path) -> Iterator[Started]:
        """The image's entry point and command, as the image's user, ready."""
        entry = [*self.settings["Entrypoint"], *self.settings["Cmd"]]
        line = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-euc", START, "start", str(self.root)]
        line += [":".join(self.user), self.settings["WorkingDir"], *self.variables("{port}"), *entry]
        with running(line, ready="/readyz", log=log, folder=Path()) as server:
            yield Started(server, log, self)


class Started(Server):
    """A container that runs."""

    def __init__(self, server: Running, log: Path, container: Container) -> None:
        super().__init__(server.process, server.url, log)
        self.port, self.container = int(server.url.rpartition(":")[2]), container

    @property
    def first(self) -> psutil.Process:
        """Process 1 of the container."""
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def inside(self, *line: str, port: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as the image's user with its variables, as an engine's health check does."""
        user, group = self.container.user
        enter = ["nsenter", "--target", str(self.first.pid), "--mount", "--pid", "--root", "--wd"]
        enter += ["--setuid", user, "--setgid", group, "env", "--ignore-environment"]
        whole = [*enter, *self.container.variables(port or self.port), *line]
        return subprocess.run(whole, capture_output=True, text=True, timeout=60, check=False)
