"""Servers to measure, each in a process group of its own and ended by its id."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from loadtest.process import free_port, stop, wait_until_ready

ROOT = Path(__file__).parent.parent


class Running:
    """A server that is ready: its address and its processes."""

    def __init__(self, url: str, process: psutil.Process) -> None:
        self.url, self.process = url, process

    def rss_bytes(self, named: str) -> int:
        """Resident memory of the child whose command line holds `named`."""
        (child,) = [c for c in self.process.children(recursive=True) if named in " ".join(c.cmdline())]
        return int(child.memory_info().rss)


@contextlib.contextmanager
def running(
    line: list[str], environment: Mapping[str, str], ready: str, log: Path, folder: Path = ROOT
) -> Iterator[Running]:
    """Start `line` in `folder` with --port and --host added, wait until `ready` answers, and end it afterwards."""
    port = free_port()
    whole = [sys.executable, "-m", *line, "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            whole, cwd=folder, env={**os.environ, **environment}, stdout=output, stderr=output, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(f"{url}{ready}", process, log)
        yield Running(url, psutil.Process(process.pid))
    finally:
        stop(process)


def sieve(home: Path, cascade: str, code: Path = ROOT) -> contextlib.AbstractContextManager[Running]:
    """`bentoml serve` with a text cascade of the store `home`; `code`: the folder of service.py."""
    line = ["bentoml", "serve", "--arg", f"text={cascade}", "--arg", "image="]
    environment = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    return running(line, environment, "/readyz", home / "log", code)


def fastapi(
    folder: Path, model: Path, tokenizer: Path, labels: tuple[str, ...]
) -> contextlib.AbstractContextManager[Running]:
    """The FastAPI baseline around one graph."""
    line = ["uvicorn", "loadtest.baselines.fastapi_app:app", "--no-access-log"]
    baseline = {"kind": "text", "runtime": "onnx", "model": str(model), "labels": labels}
    environment = {"BASELINE": json.dumps({**baseline, "tokenizer": str(tokenizer), "max_tokens": 512})}
    return running(line, environment, "/openapi.json", folder / "fastapi.log")
