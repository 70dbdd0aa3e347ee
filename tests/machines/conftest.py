"""A Bento as an image holds it, and its services started by the words of the image's entry point."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtest.traffic.process import running
from serving.model.artifact import OPERATING_POINT, write_json
from tests.conftest import ROOT, TinyCascades
from tests.server import TINY, Server, command
from tests.service.test_degraded import with_point

PORT = 3000


@pytest.fixture(scope="session")
def bento(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a Bento in which everything escalates."""
    home = with_point(tiny_cascades, tmp_path_factory.mktemp("always"), threshold=1.1)
    for path in (home / "models" / "tiny-image-operating-point").glob(f"*/{OPERATING_POINT}"):
        write_json(path, {**json.loads(path.read_text()), "threshold": 1.1})
    line, environment = command("build", *TINY, "--output", "tag", home=home)
    built = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    tag = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:")
    folder = tmp_path_factory.mktemp("image")
    line, environment = command("export", tag, str(folder / "sieve.bento"), home=home)
    subprocess.run(line, check=True, env=environment, capture_output=True, timeout=120)
    (folder / "bento").mkdir()
    subprocess.run(["tar", "-xf", folder / "sieve.bento", "-C", folder / "bento"], check=True)
    return folder / "bento"


@contextmanager
def started(
    bento: Path,
    scratch: Path,
    *,
    service: str = "",
    address: str = "127.0.0.1",
    port: int = PORT,
    on: Sequence[str] = (),
    **variables: str,
) -> Iterator[Server]:
    """A container of the image, ready: the API, or one `service` alone. `scratch`: what is its /tmp."""
    scratch.mkdir()
    entry = ["-m", "bentoml_cli._internal.start", "start-http-server", "--service-name", service]
    line = [*on, sys.executable, *(entry if service else ["-m", "bentoml", "serve"])]
    environment = {
        "BENTOML_HOME": str(scratch / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "SIEVE_DRAIN_FILE": str(scratch / "draining"),
        **variables,
    }
    line += ["--host", address, "--port", "{port}", str(bento)]
    log = scratch / "log"
    with running(
        line, ready="/readyz", log=log, folder=scratch, variables=environment, host=address, port=port
    ) as server:
        yield Server(server.process, server.url, log)
