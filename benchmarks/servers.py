"""The commands that start the servers to measure, and the servers of the hot path's benchmark."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import urllib.request
from pathlib import Path

import psutil

from loadtest.baselines.model import Baseline
from loadtest.traffic.process import Running, running

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable
TOGGLE = signal.SIGUSR1
"""What `benchmarks.watched` waits for."""


def serve_line(*names: str, service: str = "") -> tuple[str, ...]:
    """`bentoml serve` with these arguments, each like text=NAME. `service`: another one than bentofile.yaml names."""
    arguments = [part for name in names for part in ("--arg", name)]
    named = [service] if service else []
    return (PYTHON, "-m", "bentoml", "serve", *named, "--host", "127.0.0.1", "--port", "{port}", *arguments)


def fastapi_line() -> tuple[str, ...]:
    """The command of the FastAPI baseline."""
    app = "loadtest.baselines.fastapi_app:app"
    return (PYTHON, "-m", "uvicorn", app, "--no-access-log", "--host", "127.0.0.1", "--port", "{port}")


def bare_line() -> tuple[str, ...]:
    """The command of the bare application: uvicorn takes httptools and uvloop by itself."""
    app = "loadtest.baselines.bare_app:app"
    return (PYTHON, "-m", "uvicorn", app, "--no-access-log", "--host", "127.0.0.1", "--port", "{port}")


def litserve_line() -> tuple[str, ...]:
    """The command of the LitServe baseline."""
    return (PYTHON, "-m", "loadtest.baselines.litserve_app", "{port}")


def baseline_variables(baseline: Baseline) -> dict[str, str]:
    """The variable that the baselines read their model from."""
    return {"BASELINE": json.dumps(baseline)}


def sieve(
    home: Path,
    cascade: str,
    code: Path = ROOT,
    *,
    image: str = "",
    shadow: str = "",
    service: str = "",
    grpc_port: int | None = None,
    settings: Path | None = None,
    workers: int = 1,
    before: tuple[str, ...] = (),
) -> contextlib.AbstractContextManager[Running]:
    """`bentoml serve` with a text cascade of the BentoML home `home`, in so many API processes.

    `code`: the folder of service.py and serving. `image`: a cascade for images beside it. `shadow`: one that answers a
    copy of the texts. `settings`: a settings file. `service`: another service than ours. `before`: what runs
    the command, as taskset does.
    """
    variables = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True", "PYTHONPATH": str(code.resolve())}
    variables["SIEVE_WORKERS"] = str(workers)
    more = [] if grpc_port is None else [f"grpc_port={grpc_port}"]
    more += [f"shadow_text={shadow}"] if shadow else []
    more += [] if settings is None else [f"settings={settings.resolve()}"]
    line = (*before, *serve_line(f"text={cascade}", f"image={image}", *more, service=service))
    return running(line, variables=variables, ready="/readyz", log=home / "log", folder=code)


def fastapi(
    folder: Path, model: Path, tokenizer: Path, labels: tuple[str, ...]
) -> contextlib.AbstractContextManager[Running]:
    """The FastAPI baseline around one graph of a text model; its log goes into `folder`."""
    baseline: Baseline = {
        "kind": "text",
        "runtime": "onnx",
        "model": str(model),
        "labels": labels,
        "tokenizer": str(tokenizer),
        "max_tokens": 512,
    }
    variables = baseline_variables(baseline)
    log = folder / "fastapi.log"
    return running(fastapi_line(), variables=variables, ready="/openapi.json", log=log, folder=ROOT)


def bare(folder: Path, answer: str) -> contextlib.AbstractContextManager[Running]:
    """The bare application, which writes this JSON; its log goes into `folder`."""
    return running(bare_line(), variables={"BARE_ANSWER": answer}, ready="/", log=folder / "bare.log", folder=ROOT)


def rss_bytes(server: Running, named: str) -> int:
    """Resident memory of the server's child process whose command line contains `named`."""
    return int(child(server, named).memory_info().rss)


def child(server: Running, named: str) -> psutil.Process:
    """The server's child process whose command line contains `named`."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    (found,) = [each for each in children if named in " ".join(each.cmdline())]
    return found


def page(url: str) -> str:
    """The metrics of a service."""
    with urllib.request.urlopen(f"{url}/metrics") as reply:  # nosec B310 # an address of ours
        text: str = reply.read().decode()
    return text
