"""The commands that start the servers to measure, and the servers of the hot path's bench."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from loadtest.traffic.process import Running, running

ROOT = Path(__file__).parent.parent
PYTHON = sys.executable


def serve_line(*names: str, service: str = "") -> tuple[str, ...]:
    """`bentoml serve` with these arguments, each like text=NAME; without `service`, the one of bentofile.yaml."""
    arguments = [part for name in names for part in ("--arg", name)]
    named = [service] if service else []
    return (PYTHON, "-m", "bentoml", "serve", *named, "--host", "127.0.0.1", "--port", "{port}", *arguments)


def fastapi_line() -> tuple[str, ...]:
    """The FastAPI baseline."""
    app = "loadtest.baselines.fastapi_app:app"
    return (PYTHON, "-m", "uvicorn", app, "--no-access-log", "--host", "127.0.0.1", "--port", "{port}")


def litserve_line() -> tuple[str, ...]:
    """The LitServe baseline."""
    return (PYTHON, "-m", "loadtest.baselines.litserve_app", "{port}")


def baseline_variables(baseline: Mapping[str, Any]) -> dict[str, str]:
    """What the baselines read: the model, as `loadtest.baselines.model` has it."""
    return {"BASELINE": json.dumps(baseline)}


def sieve(home: Path, cascade: str, code: Path = ROOT) -> contextlib.AbstractContextManager[Running]:
    """`bentoml serve` with a text cascade of the store `home`; `code`: the folder of service.py."""
    variables = {"BENTOML_HOME": str(home), "BENTOML_DO_NOT_TRACK": "True"}
    line = serve_line(f"text={cascade}", "image=")
    return running(line, variables=variables, ready="/readyz", log=home / "log", folder=code)


def fastapi(
    folder: Path, model: Path, tokenizer: Path, labels: tuple[str, ...]
) -> contextlib.AbstractContextManager[Running]:
    """The FastAPI baseline around one graph."""
    baseline = {"kind": "text", "runtime": "onnx", "model": str(model), "labels": labels}
    variables = baseline_variables({**baseline, "tokenizer": str(tokenizer), "max_tokens": 512})
    log = folder / "fastapi.log"
    return running(fastapi_line(), variables=variables, ready="/openapi.json", log=log, folder=ROOT)


def rss_bytes(server: Running, named: str) -> int:
    """Resident memory of the child whose command line holds `named`."""
    children = psutil.Process(server.process.pid).children(recursive=True)
    (child,) = [child for child in children if named in " ".join(child.cmdline())]
    return int(child.memory_info().rss)
